//go:build unix

package judges

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// installed returns the path of a program, and skips the test if there is none.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := find(name)
	if err != nil {
		t.Skipf("skipped: %s is not installed", name)
	}
	return path
}

func find(name string) (path string, err error) {
	if path, err = exec.LookPath(name); err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name) // which may not be in PATH
	}
	return path, err
}

// launch starts a program in a new process group, and ends the whole group with the
// test. If the test fails, it logs the program's output.
func launch(t *testing.T, files []*os.File, path string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	c := exec.Command(path, args...)
	c.Stdout, c.Stderr, c.ExtraFiles = &said, &said, files
	c.WaitDelay = 10 * time.Second // for descendants that keep the pipe open
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		c.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", path, said.Bytes())
		}
	})
}
