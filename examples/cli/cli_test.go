//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/term"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

func TestMain(m *testing.M) {
	if os.Getenv("EVENKEEL_CLI") != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// A terminal is a real terminal that runs the program.
type terminal struct {
	t      *testing.T
	keys   *os.File // what a person has in front of them
	inside *os.File
	cmd    *exec.Cmd
	before *term.State
	seen   chan string // all that was on the screen, at the end
}

func open(t *testing.T, args ...string) *terminal {
	keys, inside, err := pty.Open()
	if err != nil {
		t.Skip("skipped: no pseudo-terminal:", err)
	}
	x := &terminal{t: t, keys: keys, inside: inside, seen: make(chan string, 1)}
	if x.before, err = term.GetState(int(inside.Fd())); err != nil {
		t.Fatal(err)
	}
	x.cmd = exec.Command(os.Args[0], args...)
	x.cmd.Env = append(os.Environ(), "EVENKEEL_CLI=1", "GORACE=atexit_sleep_ms=0")
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = inside, inside, inside
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		b, _ := io.ReadAll(keys) // ends with EIO once no process is inside
		x.seen <- string(b)
	}()
	return x
}

// end waits until the program ends, and checks what it leaves behind.
func (x *terminal) end(within time.Duration) (code int, seen string) {
	x.t.Helper()
	late := time.AfterFunc(within, func() { x.cmd.Process.Kill() })
	x.cmd.Wait()
	if !late.Stop() {
		x.t.Errorf("did not end within %v", within)
	}
	after, err := term.GetState(int(x.inside.Fd()))
	if err != nil {
		x.t.Fatal(err)
	}
	x.inside.Close()
	seen = <-x.seen
	x.keys.Close()
	if *after != *x.before {
		x.t.Error("the terminal is not as it was")
	}
	if strings.Count(seen, "\x1b[?1049h") != strings.Count(seen, "\x1b[?1049l") || strings.Count(seen, "\x1b[?25l") != strings.Count(seen, "\x1b[?25h") {
		x.t.Error("the second page is still shown, or the cursor is not")
	}
	return x.cmd.ProcessState.ExitCode(), seen
}

// TestInterrupt presses Ctrl-C at any moment.
func TestInterrupt(t *testing.T) {
	for range 40 {
		x := open(t)
		time.Sleep(rand.N(150 * time.Millisecond))
		x.keys.Write([]byte{3})
		code, seen := x.end(4 * time.Second)
		// Before the program has begun, the terminal ends it.
		if code != 0 && !(code == -1 && !strings.Contains(seen, "\x1b[")) {
			t.Errorf("exit status %d: %q", code, seen)
		}
	}
}

func TestSignals(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		x := open(t)
		time.Sleep(200 * time.Millisecond)
		x.cmd.Process.Signal(s)
		if code, seen := x.end(4 * time.Second); code != 0 || !strings.Contains(seen, "answer 15") {
			t.Errorf("%v: exit status %d: %q", s, code, seen)
		}
	}
}

// TestSecondInterrupt checks that a second Ctrl-C ends an answer that ignores the first.
func TestSecondInterrupt(t *testing.T) {
	x := open(t, "-stuck")
	time.Sleep(200 * time.Millisecond)
	x.keys.Write([]byte{3})
	time.Sleep(200 * time.Millisecond)
	x.keys.Write([]byte{3})
	code, seen := x.end(1500 * time.Millisecond)
	if code != 1 || !strings.Contains(seen, "1 task did not end") || !strings.Contains(seen, ".write ") {
		t.Errorf("exit status %d: %q", code, seen)
	}
}

// TestNothingLeft runs the program inside the test.
func TestNothingLeft(t *testing.T) {
	lifecycle.VerifyNone(t)
	keys, inside, err := pty.Open()
	if err != nil {
		t.Skip("skipped: no pseudo-terminal:", err)
	}
	defer keys.Close()
	defer inside.Close()
	go func() {
		seen := new(bytes.Buffer)
		for b := make([]byte, 4096); !strings.Contains(seen.String(), "answer 15"); {
			n, err := keys.Read(b)
			if err != nil {
				return
			}
			seen.Write(b[:n])
		}
		keys.Write([]byte("q"))
		io.Copy(io.Discard, keys)
	}()
	if err := run(inside.Name(), false); err != nil {
		t.Error(err)
	}
}

func TestNoTerminal(t *testing.T) {
	if err := run("/does/not/exist", false); err == nil || !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "cli: needs a terminal: ") {
		t.Errorf("got %v", err)
	}
}
