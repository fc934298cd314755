// Package proctest runs programs that a test needs in a child process. The process is
// the test binary again, with an environment variable that names the program.
package proctest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const env = "EVENKEEL_TEST_PROGRAM"

// Main runs the named program in a child process, and then exits. In the test process
// itself it does nothing. Call it first in TestMain.
func Main(programs map[string]func()) {
	if name := os.Getenv(env); name != "" {
		programs[name]()
		os.Exit(0)
	}
}

// Env returns the variable that makes the test binary run the named program.
func Env(name string) string { return env + "=" + name }

// A Process is a program under test.
type Process struct {
	*exec.Cmd
	t    *testing.T
	out  *bufio.Reader
	done chan error
}

// Start starts the named program. The words of prefix, if any, precede it, as those of
// nohup do. The program is killed when the test ends.
func Start(t *testing.T, name string, prefix ...string) *Process {
	t.Helper()
	return Pass(t, nil, name, prefix...)
}

// Pass is Start with open files, which the program gets as descriptors 3 and up.
func Pass(t *testing.T, files []*os.File, name string, prefix ...string) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	words := append(prefix, self)
	p := &Process{Cmd: exec.Command(words[0], words[1:]...), t: t, done: make(chan error, 1)}
	p.Env = append(os.Environ(), Env(name))
	p.ExtraFiles = files
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdout, p.Stderr, p.out = w, w, bufio.NewReader(r)
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() { p.done <- p.Cmd.Wait() }()
	t.Cleanup(func() {
		p.Cmd.Process.Kill()
		<-p.done
		r.Close()
	})
	return p
}

// Expect reads the program's lines until one is want.
func (p *Process) Expect(want string) {
	p.t.Helper()
	for p.After(want) != "" {
	}
}

// After reads the program's lines until one begins with prefix, and returns the rest
// of that line.
func (p *Process) After(prefix string) string {
	p.t.Helper()
	for {
		line, err := p.out.ReadString('\n')
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			return rest
		}
		if err != nil {
			p.t.Fatalf("the program ended before it printed %q: %q, %v", prefix, line, err)
		}
	}
}

// Signal sends the program a signal.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Ended waits for the program to end. It returns what the program printed after the
// last Expect or After, and its exit status, which is 128 + n if signal n killed it.
func (p *Process) Ended() (string, int) {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
	case <-time.After(20 * time.Second):
		p.t.Fatal("the program did not end within 20 s")
	}
	rest, err := io.ReadAll(p.out)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(rest), status(p.ProcessState)
}
