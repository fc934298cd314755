//go:build linux || darwin

package restart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

// A syncBuffer is a log that goroutines write to while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// boxPrograms are the programs of processes that end in the middle.
func boxPrograms() map[string]func() {
	begin := func() (*Ledger, *syncBuffer) {
		log := new(syncBuffer)
		p := quick
		p.Logger = slog.New(slog.NewTextHandler(log, nil))
		l := &Ledger{Path: os.Getenv(at), Policy: p, CrashOutput: os.Getenv("EVENKEEL_TEST_CRASH") != ""}
		l.Box()
		must(l.Begin(context.Background()))
		return l, log
	}
	// busy has ann in flight, and others that come and go.
	busy := func() *Ledger {
		l, _ := begin()
		l.Box().Enter("ann")
		return l
	}
	return map[string]func(){
		"box waits": func() {
			l := busy()
			fmt.Println("ready")
			for i := 0; ; i++ {
				slot := l.Box().Enter("bob")
				l.Box().Leave(slot)
				time.Sleep(time.Millisecond)
			}
		},
		"box exits": func() { busy(); os.Exit(3) },
		"box panics": func() {
			busy()
			go panic("oh\nno")
			select {}
		},
		"box execs": func() {
			l, log := begin()
			fmt.Println(l.run.run, strings.Contains(log.String(), "unavailable"))
			if os.Getenv("EVENKEEL_TEST_AGAIN") == "" {
				l.Box().Enter("ann")
				self, err := os.Executable()
				must(err)
				must(syscall.Exec(self, os.Args, append(os.Environ(), "EVENKEEL_TEST_AGAIN=1")))
			}
			l.Box().Enter("bob")
			os.Exit(3)
		},
		"box forks": func() {
			busy()
			must(exec.Command("sleep", "3").Start()) // outlives this process
			fmt.Println("ready")
			select {}
		},
		"box shrinks": func() {
			l, log := begin()
			slot := l.Box().Enter("ann")
			must(os.Truncate(l.Path+boxSuffix, 0))
			fmt.Println("entries:", l.Box().Enter("bob"), l.Box().Enter("cid"))
			l.Box().Leave(slot)
			for end := time.Now().Add(5 * time.Second); log.String() == "" && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(2 * beat)
			fmt.Println("warnings:", strings.Count(log.String(), "\n"), strings.Contains(log.String(), "black box unavailable"))
			l.End(nil)
			fmt.Println("ended")
		},
		"box fills": func() {
			junk, err := os.Create(os.Getenv(at) + ".junk")
			must(err)
			l, log := begin()
			l.End(nil)
			must(os.Remove(l.Path + boxSuffix))
			for err = nil; err == nil; {
				_, err = junk.Write(make([]byte, 4096))
			}
			must(l.Begin(context.Background()))
			fmt.Println(l.Box().Enter("ann"), strings.Count(log.String(), "\n"), strings.Contains(log.String(), syscall.ENOSPC.Error()))
			l.End(nil)
		},
	}
}

// However a process ends, the next one names what was in flight.
func TestBoxEnds(t *testing.T) {
	for _, tt := range []struct {
		program string
		crash   bool
		signal  syscall.Signal
		status  int
		cause   Cause
		text    string // the crash output's first line
	}{
		{"box waits", false, syscall.SIGKILL, 128 + 9, Died, ""},
		{"box waits", true, syscall.SIGKILL, 128 + 9, Died, ""},
		{"box exits", true, 0, 3, Died, ""},
		{"box panics", false, 0, 2, Died, ""},
		{"box panics", true, 0, 2, Crashed, "panic: oh"},
		{"box waits", true, syscall.SIGABRT, 2, Crashed, "SIGABRT: abort"},
	} {
		t.Run(fmt.Sprint(tt.program, " ", tt.crash, tt.signal), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger")
			t.Setenv(at, path)
			if tt.crash {
				t.Setenv("EVENKEEL_TEST_CRASH", "1")
			}
			p := proctest.Start(t, tt.program)
			if tt.signal != 0 {
				p.Expect("ready")
				p.Signal(tt.signal)
			}
			said, status := p.Ended()
			if status != tt.status {
				t.Fatalf("status %d: %s", status, said)
			}
			learns(t, path, tt.cause, tt.text, "ann")
		})
	}
}

// learns begins the run after a death and checks what it knows.
func learns(t *testing.T, path string, cause Cause, text string, sessions ...string) {
	t.Helper()
	var log bytes.Buffer
	p := quick
	p.Logger = slog.New(slog.NewTextHandler(&log, nil))
	l := &Ledger{Path: path, Policy: p, Deaths: 1, CrashOutput: text != ""}
	l.Box()
	if text != "" {
		defer debug.SetCrashOutput(nil, debug.CrashOptions{})
	}
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer l.End(nil)
	runs, err := l.Runs()
	if err != nil || len(runs) != 2 {
		t.Fatal(runs, err)
	}
	if r := runs[0]; r.Cause != cause || r.InFlight < len(sessions) || r.InFlight > len(sessions)+1 || !strings.HasPrefix(r.Crash, text) || (text == "") != (r.Crash == "") {
		t.Errorf("%+v", r)
	}
	for _, s := range sessions {
		if !runs[0].Had(s) || !l.Box().Suspect(s) {
			t.Errorf("%s was in flight", s)
		}
	}
	if got := log.String(); strings.Count(got, `msg="run died"`) != 1 || strings.Contains(got, "unavailable") || !strings.Contains(got, text) {
		t.Errorf("log: %s", got)
	}
}

// A crash in C code, too: its process is built for the test, so that the package needs
// no compiler.
func TestBoxAbortInC(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("skipped: no go command: ", err)
	}
	cc, err := exec.Command("go", "env", "CC").Output()
	if words := strings.Fields(string(cc)); err != nil || len(words) == 0 {
		t.Skip("skipped: no C compiler: ", err)
	} else if _, err := exec.LookPath(words[0]); err != nil {
		t.Skip("skipped: no C compiler: ", err)
	}
	program := filepath.Join(t.TempDir(), "abort")
	build := exec.Command("go", "build", "-o", program, "./testdata/abort")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, how := range []string{"crash", "none"} {
		path := filepath.Join(t.TempDir(), "ledger")
		out, err := exec.Command(program, path, how, "ann", "cid").CombinedOutput()
		var status *exec.ExitError
		if !errors.As(err, &status) || !bytes.Contains(out, []byte("SIGABRT")) {
			t.Fatalf("%v: %s", err, out)
		}
		if how == "crash" {
			learns(t, path, Crashed, "SIGABRT: abort", "ann", "cid")
		} else {
			learns(t, path, Died, "", "ann", "cid")
		}
	}
}

// At any moment that SIGKILL arrives, ann is known, and bob is known to be in flight or
// not, and no other session is.
func TestBoxKilled(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		path := filepath.Join(t.TempDir(), "ledger")
		t.Setenv(at, path)
		p := proctest.Start(t, "box waits")
		p.Expect("ready")
		time.Sleep(rand.N(8 * time.Millisecond))
		p.Signal(syscall.SIGKILL)
		p.Ended()
		learns(t, path, Died, "", "ann")
	}
}

// A process that replaces itself continues its run with an empty register.
func TestBoxExec(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	t.Setenv(at, path)
	if said, status := proctest.Start(t, "box execs").Ended(); said != "1 false\n1 false\n" || status != 3 {
		t.Fatalf("status %d: %s", status, said)
	}
	learns(t, path, Died, "", "bob")
	if runs, err := (&Ledger{Path: path}).Runs(); err != nil || runs[0].Had("ann") {
		t.Error("what was in flight before the exec is in flight after it", err)
	}
}

// A child that another program runs in, and that outlives the process, does not have
// the lock.
func TestBoxFork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	t.Setenv(at, path)
	p := proctest.Start(t, "box forks")
	p.Expect("ready")
	p.Signal(syscall.SIGKILL)
	p.Ended()
	learns(t, path, Died, "", "ann")
}

// A second process records nothing while the first one lives, and warns once.
func TestBoxTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	t.Setenv(at, path)
	p := proctest.Start(t, "box waits")
	p.Expect("ready")
	var log bytes.Buffer
	policy := quick
	policy.Logger = slog.New(slog.NewTextHandler(&log, nil))
	l := &Ledger{Path: path, Policy: policy}
	l.Box()
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.Box().Enter("dan") != 0 || strings.Count(log.String(), "black box unavailable") != 1 || !strings.Contains(log.String(), errBoxBusy.Error()) {
		t.Errorf("the second process: %s", &log)
	}
	l.End(nil)
	p.Signal(syscall.SIGKILL)
	p.Ended()
}

// A file that is cut short in use costs a warning and what it recorded.
func TestBoxShrinks(t *testing.T) {
	t.Setenv(at, filepath.Join(t.TempDir(), "ledger"))
	said, status := proctest.Start(t, "box shrinks").Ended()
	if want := "entries: 0 0\nwarnings: 1 true\nended\n"; said != want || status != 0 {
		t.Errorf("status %d: %s", status, said)
	}
}

// On a full disk, the service runs on with one warning.
func TestBoxFullDisk(t *testing.T) {
	if why := no("unshare", "mount"); why != "" {
		t.Skip("skipped: no disk of our own to fill: ", why)
	}
	dir := t.TempDir()
	t.Setenv(at, filepath.Join(dir, "ledger"))
	p := proctest.Start(t, "box fills", "unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=256k none "+dir+` && exec "$0"`)
	if said, status := p.Ended(); said != "0 1 true\n" || status != 0 {
		t.Errorf("status %d: %s", status, said)
	}
}

// Whatever is wrong with the file, the run begins without a wait, with one warning, and
// what is not ours stays as it is.
func TestBoxFaults(t *testing.T) {
	refuse := func(err error) func(*testing.T, *world, string) {
		return func(_ *testing.T, w *world, path string) {
			open := w.open
			w.open = func(p string) (file, error) {
				if p == path {
					return nil, &fs.PathError{Op: "open", Path: p, Err: err}
				}
				return open(p)
			}
		}
	}
	content := func(b []byte) func(*testing.T, *world, string) {
		return func(t *testing.T, _ *world, path string) {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	change := func(f func([]byte) []byte) func(*testing.T, *world, string) {
		return func(t *testing.T, w *world, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			content(f(b))(t, w, path)
		}
	}
	for _, tt := range []struct {
		name    string
		do      func(t *testing.T, w *world, path string)
		records bool
		accuses bool
		said    string // "": no warning
	}{
		{"read-only directory", refuse(syscall.EROFS), false, false, "read-only"},
		{"no right", refuse(syscall.EACCES), false, false, "permission denied"},
		{"directory", func(t *testing.T, _ *world, path string) {
			if err := errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, false, false, "not a regular file"},
		{"pipe", func(t *testing.T, _ *world, path string) {
			if err := errors.Join(os.RemoveAll(path), syscall.Mkfifo(path, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, false, false, "not a regular file"},
		{"no mmap on this system", func(_ *testing.T, w *world, _ string) { w.mapped = nil }, false, false, errNoMap.Error()},
		{"no mmap on this disk", func(_ *testing.T, w *world, _ string) {
			w.mapped = func(file) (unsafe.Pointer, error) { return nil, syscall.ENODEV }
		}, false, false, syscall.ENODEV.Error()},
		{"foreign", content(bytes.Repeat([]byte("notes "), 20000)), false, false, errBoxForeign.Error()},
		{"foreign and short", content([]byte("notes")), false, false, errBoxForeign.Error()},
		{"zeros, too many", content(make([]byte, boxSize+1)), false, false, errBoxForeign.Error()},
		{"newer", change(func(b []byte) []byte { b[7]++; return b }), false, false, errBoxNewer.Error()},
		{"torn header", change(func(b []byte) []byte { b[8*atRun]++; return b }), true, false, errBoxDamaged.Error()},
		{"torn area", change(func(b []byte) []byte { b[8*headWords]++; b[boxSize-1]++; return b }), true, false, errBoxDamaged.Error()},
		{"short", change(func(b []byte) []byte { return b[:5000] }), true, false, errBoxDamaged.Error()},
		{"one word", change(func(b []byte) []byte { return b[:8] }), true, false, errBoxDamaged.Error()},
		{"long", change(func(b []byte) []byte { return append(b, 1) }), true, false, errBoxDamaged.Error()},
		{"empty", content(nil), true, false, ""},
		{"half made", content(make([]byte, 5000)), true, false, ""},
		{"gone", func(t *testing.T, _ *world, path string) { os.Remove(path) }, true, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for range 2 {
					l := w.boxed(t)
					l.enter(t, "ann")
					time.Sleep(time.Minute)
					l.die()
				}
				path := w.path + boxSuffix
				sound := *w
				tt.do(t, w, path)
				var before []byte
				if strings.Contains(tt.said, "left alone; remove it, or") || tt.name == "newer" {
					before, _ = os.ReadFile(path)
				}
				w.log.Reset()
				l := w.boxed(t)
				if n := strings.Count(w.log.String(), "black box unavailable"); n != min(1, len(tt.said)) || !strings.Contains(w.log.String(), tt.said) {
					t.Errorf("%s", &w.log)
				}
				if slot := l.Box().Enter("bob"); (slot != 0) != tt.records || l.Box().Suspect("ann") != tt.accuses {
					t.Errorf("slot %d, ann is a suspect: %t", slot, l.Box().Suspect("ann"))
				}
				if tt.name == "no mmap on this disk" {
					b, _ := os.ReadFile(path)
					if m, err := parse(b); err != nil || m.word(atRun) != 0 {
						t.Error("a run without entries seems to be recorded", err)
					}
				}
				if l.run.seq == 0 {
					t.Error("the run has no record")
				}
				if before != nil {
					if now, err := os.ReadFile(path); err != nil || !bytes.Equal(before, now) {
						t.Error("the file was changed", err)
					}
				}
				l.End(nil)
				if !tt.records {
					return
				}
				w.log.Reset()
				sound.log.Reset()
				l = sound.boxed(t)
				if l.Box().Enter("ann") == 0 || strings.Contains(sound.log.String(), "unavailable") {
					t.Errorf("not mended: %s", &sound.log)
				}
				l.End(nil)
				if info, err := os.Stat(path); err != nil || info.Size() != boxSize {
					t.Error(info, err)
				}
			})
		})
	}
}

// The file may be a link to another place, as a tmpfs, and need not be there yet.
func TestBoxLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		target := filepath.Join(t.TempDir(), "target")
		if err := os.Symlink(target, w.path+boxSuffix); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			l := w.boxed(t)
			l.enter(t, "ann")
			if info, err := os.Stat(target); err != nil || info.Size() != boxSize || l.Box().Suspect("ann") != (i == 2) {
				t.Error(i, info, err)
			}
			l.die()
		}
	})
}

// A Begin that is abandoned closes the box.
func TestBoxAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l := w.ledger()
		l.Box()
		if err := l.Begin(ctx); err == nil {
			t.Error("no wait")
		}
		if l.Box().Enter("ann") != 0 {
			t.Error("recorded without a run")
		}
		l = w.boxed(t)
		l.enter(t, "ann")
		l.End(nil)
	})
}
