//go:build unix

package restart

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// If Path leads to anything but a regular file, all methods of a ledger and a lock
// fail at once and leave it as it is. Once, Table hung for ever on a FIFO without a
// writer, and Begin moved away a device node as a corrupt ledger.
func TestNotRegular(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"a FIFO":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a device":  func(path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|3) },
		"a tty":     func(path string) error { return os.Symlink("/dev/tty", path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a socket": func(path string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
		"a link to a FIFO": func(path string) error {
			return errors.Join(syscall.Mkfifo(path+".fifo", 0o600), os.Symlink(path+".fifo", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.path = filepath.Join(t.TempDir(), "x")
				if err := make(w.path); err != nil {
					t.Skip("skipped: it cannot be made here:", err)
				}
				before, err := os.Lstat(w.path)
				if err != nil {
					t.Fatal(err)
				}
				l, took := w.begin(t)
				if got := w.log.String(); took != time.Second || strings.Count(got, "ledger unavailable") != 1 || !strings.Contains(got, errNotRegular.Error()) {
					t.Errorf("waits %v; %s", took, got)
				}
				l.End(errRun)
				if _, err := l.Table(); !errors.Is(err, errNotRegular) || !strings.Contains(err.Error(), w.path) {
					t.Error(err)
				}
				lock := &Lock{Path: w.path}
				if err := lock.Acquire(t.Context()); !errors.Is(err, errNotRegular) || !carried.IsPermanent(err) || !strings.Contains(err.Error(), w.path) {
					t.Error(err)
				}
				after, err := os.Lstat(w.path)
				if err != nil || !os.SameFile(before, after) {
					t.Error("it was moved", err)
				}
				if files, _ := filepath.Glob(w.path + ".corrupt*"); files != nil {
					t.Error(files)
				}
			})
		})
	}
}

// A symbolic link to a regular file, or to a missing one, works like that file.
func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, path := range []string{w.path, w.path + ".lock"} {
			if err := os.Symlink(path+".target", path); err != nil {
				t.Fatal(err)
			}
		}
		w.fail(t, 2)
		if _, took := w.begin(t); took != 2*time.Second {
			t.Errorf("waits %v; %s", took, &w.log)
		}
		released(t, acquired(t, &Lock{Path: w.path + ".lock"}))
	})
}
