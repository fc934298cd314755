//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A screen is the terminal on its second page, in raw mode except for Ctrl-C. That
// stays a signal, which reaches even a program that no longer reads its keys. The
// methods may be called concurrently.
type screen struct {
	tty *os.File
	old *term.State

	mu     sync.Mutex
	closed bool // the terminal is restored, so nothing more is drawn
}

func openScreen(path string) (*screen, error) {
	tty, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("cli: needs a terminal: %w", err)
	}
	s := &screen{tty: tty}
	err = s.control(func(fd int) (err error) {
		if s.old, err = term.MakeRaw(fd); err != nil {
			return err
		}
		return keepSignals(fd)
	})
	if err != nil {
		tty.Close()
		return nil, fmt.Errorf("cli: raw mode: %w", err)
	}
	fmt.Fprint(tty, "\x1b[?1049h\x1b[?25l\x1b[2J") // second page, no cursor, empty
	return s, nil
}

// control calls f with the descriptor. File.Fd would make its reads block for ever.
func (s *screen) control(f func(fd int) error) error {
	c, err := s.tty.SyscallConn()
	if err != nil {
		return err
	}
	if e := c.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// draw puts text on a line, from 1.
func (s *screen) draw(line int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		fmt.Fprintf(s.tty, "\x1b[%d;1H\x1b[2K%s", line, text)
	}
}

// wake makes a Read of the keys return.
func (s *screen) wake() { s.tty.SetReadDeadline(time.Now()) }

// Close restores the terminal, once.
func (s *screen) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	fmt.Fprint(s.tty, "\x1b[?25h\x1b[?1049l")
	err := s.control(func(fd int) error { return term.Restore(fd, s.old) })
	return errors.Join(err, s.tty.Close())
}

func keepSignals(fd int) error {
	mode, err := unix.IoctlGetTermios(fd, getMode)
	if err != nil {
		return err
	}
	mode.Lflag |= unix.ISIG
	return unix.IoctlSetTermios(fd, setMode, mode)
}
