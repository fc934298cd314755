package stoptest

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A process is the program in one life, with what it writes.
type process struct {
	cmd           *exec.Cmd
	program       *os.Process // cmd.Process, or its child if that is a shell
	name          string      // of the program
	marker        string      // in the environment of the program and its children
	stdin, stdout *os.File    // our ends of the pipes
	stderr        *os.File
	ended         chan struct{} // closed at the exit of the program
	endedAt       time.Time     // set before ended is closed
	waited        chan struct{} // closed when cmd.Process was waited for
	reading       sync.WaitGroup

	mu    sync.Mutex
	lines []line // the last ones
}

// A line is one that the program wrote.
type line struct {
	at   time.Time
	text string
}

const (
	markerName = "EVENKEEL_STOPTEST"
	mostLines  = 4000 // that are kept of one life
	mostBytes  = 4000 // that are kept of one line
)

// start starts the command. If it is to be orphaned, a shell is its parent.
func start(cmd *exec.Cmd, marker, tmp string, orphaned bool) (p *process, err error) {
	p = &process{cmd: cmd, name: filepath.Base(cmd.Path), marker: markerName + "=" + marker, ended: make(chan struct{}), waited: make(chan struct{})}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, p.marker, "TMPDIR="+tmp)
	pidFile := tmp + ".pid"
	if orphaned && cmd.Err == nil {
		cmd.Args = append([]string{"sh", "-c", `"$@" <&0 & echo $! >"$0.new" && mv "$0.new" "$0"; wait`, pidFile, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
	}
	separate(cmd)
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	pipe := func() (r, w *os.File) {
		r, w, e := os.Pipe()
		err = errors.Join(err, e)
		return r, w
	}
	stdin, stdinW := pipe()
	stdoutR, stdout := pipe()
	stderrR, stderr := pipe()
	theirs = []*os.File{stdin, stdout, stderr}
	p.stdin, p.stdout, p.stderr = stdinW, stdoutR, stderrR
	more, moreErr := cmd.Stdout, cmd.Stderr // besides
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	if err != nil {
		p.close()
		return nil, err
	}
	started := make(chan error)
	go func() { // ends with the child, which end kills if it must
		runtime.LockOSThread() // on Linux the child dies with its thread
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		cmd.Wait()
		if !orphaned {
			p.endedAt = time.Now()
			close(p.ended)
		}
		close(p.waited)
	}()
	if err = <-started; err != nil {
		p.close()
		return nil, err
	}
	p.reading.Go(func() { p.read(stdoutR, more) })
	p.reading.Go(func() { p.read(stderrR, moreErr) })
	p.program = cmd.Process
	if orphaned {
		if err := p.adopt(pidFile); err != nil {
			p.end()
			return nil, err
		}
	}
	return p, nil
}

// adopt finds the program that the shell has started.
func (p *process) adopt(pidFile string) error {
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		text, err := os.ReadFile(pidFile)
		if err != nil {
			continue
		}
		os.Remove(pidFile)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return err
		}
		if p.program, err = os.FindProcess(pid); err != nil {
			return err
		}
		go func() { // ends with the program, which end kills if it must
			for !gone(pid) {
				time.Sleep(2 * time.Millisecond)
			}
			p.endedAt = time.Now()
			close(p.ended)
		}()
		return nil
	}
	return errors.New("stoptest: /bin/sh did not start the program within 10 s")
}

// happen makes an event happen to the program.
func (p *process) happen(e event) {
	switch e {
	case orphaned:
		p.cmd.Process.Kill()
		<-p.waited
	case stdinClosed:
		p.stdin.Close()
	case stdoutClosed:
		p.stdout.Close()
	}
}

// read keeps the lines of one output.
func (p *process) read(from *os.File, besides io.Writer) {
	r := bufio.NewReaderSize(from, mostBytes)
	for {
		text, err := r.ReadSlice('\n')
		if besides != nil && len(text) > 0 {
			besides.Write(text)
		}
		if text := strings.TrimRight(string(text), "\r\n"); text != "" {
			p.mu.Lock()
			if len(p.lines) == mostLines {
				p.lines = p.lines[mostLines/2:]
			}
			p.lines = append(p.lines, line{time.Now(), text})
			p.mu.Unlock()
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}

// said returns the lines that were written since a time.
func (p *process) said(since time.Time) (said []line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if !l.at.Before(since) {
			said = append(said, l)
		}
	}
	return said
}

// end kills what still runs, and waits until nothing does and all output is read.
func (p *process) end() {
	if p.program != nil {
		p.program.Kill()
		if p.program != p.cmd.Process {
			<-p.ended
		}
	}
	p.cmd.Process.Kill()
	<-p.waited
	p.killRest()
	read := make(chan struct{})
	go func() { p.reading.Wait(); close(read) }() // ends with the pipes
	select {
	case <-read:
	case <-time.After(time.Second): // a process that we may not kill has them
	}
	p.close()
	<-read
}

func (p *process) close() {
	p.stdin.Close()
	p.stdout.Close()
	p.stderr.Close()
}

// filesIn returns the files of a folder, with their paths from there.
func filesIn(dir string) (found []string) {
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			found = append(found, name)
		}
		return nil
	})
	return found
}
