package restart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

func acquired(t *testing.T, l *Lock) *Lock {
	t.Helper()
	if err := l.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func released(t *testing.T, l *Lock) {
	t.Helper()
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// dies frees the lock as the end of a process does.
func (l *Lock) dies() {
	l.held.release()
	l.held = nil
}

// Acquire lingers after a holder that died, and after no other.
func TestLockLinger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var log bytes.Buffer
	lingers := func(t *testing.T) (*Lock, time.Duration) {
		log.Reset()
		begin := time.Now()
		return acquired(t, &Lock{Path: path, Linger: time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))}), time.Since(begin)
	}
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, l *Lock)
		want time.Duration
	}{
		{"released", func(t *testing.T, l *Lock) { released(t, l) }, 0},
		{"died", func(t *testing.T, l *Lock) { l.dies() }, time.Minute},
		{"released after a death", func(t *testing.T, l *Lock) { released(t, l) }, 0},
		{"unreadable", func(t *testing.T, l *Lock) {
			released(t, l)
			if err := os.WriteFile(path, []byte("\x00what?"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, time.Minute},
		{"a linger that was ended", func(t *testing.T, l *Lock) {
			l.dies()
			ctx, cancel := context.WithTimeoutCause(t.Context(), 59*time.Second, io.EOF)
			defer cancel()
			err := (&Lock{Path: path, Linger: time.Minute, Logger: quiet}).Acquire(ctx)
			if !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), fmt.Sprintf("lingering after pid %d since 2000-", os.Getpid())) {
				t.Error(err)
			}
		}, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, _ := lingers(t)
				tt.end(t, l)
				l, took := lingers(t)
				if said := strings.Contains(log.String(), "lock lingers"); took != tt.want || said != (took > 0) {
					t.Errorf("lingers %v, want %v; %s", took, tt.want, &log)
				}
				released(t, l)
			})
		})
	}
}

// A wait names the holder, to the log once and to a supervisor each second. It ends
// at once with ctx, and its error names the holder and the cause.
func TestLockWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		defer released(t, acquired(t, &Lock{Path: path, Logger: quiet}))
		time.Sleep(time.Hour)
		var log bytes.Buffer
		var told []string
		ctx, cancel := context.WithCancelCause(t.Context())
		ctx = context.WithValue(ctx, carried.WaitKey, carried.Waits(func(what string, until time.Time) { told = append(told, fmt.Sprint(what, until.IsZero())) }))
		time.AfterFunc(time.Minute, func() { cancel(io.EOF) })
		l := &Lock{Path: path, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		begin := time.Now()
		err := l.Acquire(ctx)
		holder := fmt.Sprintf("pid %d since 2000-01-01T00:00:00Z", os.Getpid())
		if time.Since(begin) != time.Minute || !errors.Is(err, io.EOF) || err.Error() != "restart: Lock: "+path+": held by "+holder+": EOF" {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if n := len(told); n < 55 || n > 61 || told[n-1] != "the lock, held by "+holder+"true" || strings.Count(log.String(), "lock wait") != 1 || !strings.Contains(log.String(), holder) {
			t.Errorf("%q, %s", told, &log)
		}
		released(t, l)
		if err := l.Acquire(ctx); err != io.EOF {
			t.Error(err)
		}
	})
}

// Eight processes wait, and each gets the lock, one at a time.
func TestLockWaiters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first := acquired(t, &Lock{Path: path, Logger: quiet})
	var in, turns atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l := &Lock{Path: path, Logger: quiet}
			for range 5 {
				if err := l.Acquire(t.Context()); err != nil {
					t.Error(err)
					return
				}
				if n := in.Add(1); n != 1 {
					t.Errorf("%d holders", n)
				}
				turns.Add(1)
				in.Add(-1)
				released(t, l)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if n := turns.Load(); n != 0 {
		t.Errorf("%d beside the holder", n)
	}
	released(t, first)
	wg.Wait()
	if n := turns.Load(); n != 40 {
		t.Errorf("%d turns", n)
	}
}

// If the file is deleted, a second process gets the lock, and Release reports it to
// the first.
func TestLockDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first := acquired(t, &Lock{Path: path, Logger: quiet})
	if err := os.Remove(path); err != nil {
		released(t, first)
		t.Skip("skipped: an open file cannot be deleted here:", err)
	}
	second := acquired(t, &Lock{Path: path, Logger: quiet})
	if err := first.Release(t.Context()); err == nil || !strings.Contains(err.Error(), "deleted or replaced") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := (&Lock{Path: path, Logger: quiet}).Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third holder: %v", err)
	}
	released(t, second)
}

// A file that is deleted, or replaced, while it is locked is not the lock.
func TestLockReplaced(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"deleted":  os.Remove,
		"replaced": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			l := &Lock{Path: filepath.Join(t.TempDir(), "lock"), Logger: quiet, sys: machine()}
			tries := 0
			l.sys.lock = func(f *flock.Flock) (bool, error) {
				ok, err := f.TryLock()
				if tries++; tries < 3 {
					if err := replace(l.Path); err != nil {
						f.Close()
						t.Skip("skipped: an open file cannot be deleted here:", err)
					}
				}
				return ok, err
			}
			acquired(t, l)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := (&Lock{Path: l.Path, Logger: quiet}).Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || tries != 3 {
				t.Errorf("a second holder: %v, after %d tries", err, tries)
			}
			released(t, l)
		})
	}
}

// Each secret has its own lock, whose file does not reveal it.
func TestLockSecret(t *testing.T) {
	dir := t.TempDir()
	lock := func(secret string) *Lock {
		return &Lock{Path: filepath.Join(dir, "lock"), Secret: secret, Logger: quiet}
	}
	a := acquired(t, lock("token-a"))
	defer released(t, a)
	defer released(t, acquired(t, lock("token-b")))
	defer released(t, acquired(t, lock("")))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := lock("token-a").Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "token-a") {
		t.Error(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 || strings.Contains(fmt.Sprint(files), "token") || strings.Contains(fmt.Sprint(files), fmt.Sprintf("%x", "token")) {
		t.Error(files, err)
	}
}

// Acquire prints only what a Lock wrote. The file may hold anything else: terminal
// escapes, or a secret of another program.
func TestLockHolder(t *testing.T) {
	const held = "pid 4711 since 2026-05-20T10:00:00Z"
	for said, want := range map[string]string{
		"":                                           "",
		strings.Repeat("\x00", lineSize):             "",
		held + "   \n":                               held,
		held + ", released 2026-05-20T10:00:01Z":     "",
		held + ", released soon":                     unnamed,
		"pid 4711 since today":                       unnamed,
		"pid -1 since 2026-05-20T10:00:00Z":          unnamed,
		"4711 since 2026-05-20T10:00:00Z":            unnamed,
		held + "\nmore":                              unnamed,
		"pid 4711 \x1b[2Jsince 2026-05-20T10:00:00Z": unnamed,
		"\x1b]0;root:hunter2\a":                      unnamed,
	} {
		who, holds := holder(strings.NewReader("\x00" + said))
		if holds != (want != "") || holds && who != want {
			t.Errorf("%q: %q, %v; want %q", said, who, holds, want)
		}
	}
	// If a holder died before it wrote more than this, Acquire lingers after an unnamed one.
	path := filepath.Join(t.TempDir(), "lock")
	h, err := machine().grab(path)
	if err != nil {
		t.Fatal(err)
	}
	defer h.release()
	if _, err := h.WriteAt([]byte("\x1b[31mtoken=hunter2"), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var log bytes.Buffer
	err = (&Lock{Path: path, Logger: slog.New(slog.NewTextHandler(&log, nil))}).Acquire(ctx)
	if got := err.Error() + log.String(); strings.Contains(got, "hunter2") || strings.Count(got, unnamed) != 2 {
		t.Errorf("%q", got)
	}
}

// A file longer than a lock's belongs to another program.
func TestLockForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	notes := bytes.Repeat([]byte("notes "), 100)
	if err := os.WriteFile(path, notes, 0o600); err != nil {
		t.Fatal(err)
	}
	err := (&Lock{Path: path, Logger: quiet}).Acquire(t.Context())
	if b, err2 := os.ReadFile(path); !errors.Is(err, errLonger) || !carried.IsPermanent(err) || !strings.Contains(err.Error(), path) || !bytes.Equal(b, notes) {
		t.Error(err, err2)
	}
}

func TestLockFaults(t *testing.T) {
	for _, err := range []error{syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.ENOLCK} {
		l := &Lock{Path: filepath.Join(t.TempDir(), "lock"), sys: machine()}
		l.sys.lock = func(*flock.Flock) (bool, error) { return false, err }
		if got := l.Acquire(t.Context()); !errors.Is(got, err) || !strings.Contains(got.Error(), "no locks; put Path on a local one") {
			t.Errorf("%v: %v", err, got)
		}
	}
	if err := (&Lock{Path: filepath.Join(t.TempDir(), "none", "lock")}).Acquire(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := (&Lock{}).Acquire(t.Context()); !carried.IsPermanent(err) || !strings.Contains(err.Error(), "Path is empty") {
		t.Error(err)
	}
	// The lock holds without the text in the file.
	var log bytes.Buffer
	l := &Lock{Path: filepath.Join(t.TempDir(), "lock"), Logger: slog.New(slog.NewTextHandler(&log, nil)), sys: machine()}
	l.sys.open = func(path string) (file, error) {
		f, err := machine().open(path)
		return &faulty{file: f, write: syscall.ENOSPC}, err
	}
	acquired(t, l)
	if !strings.Contains(log.String(), "lock record not written") {
		t.Errorf("%q", &log)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := (&Lock{Path: l.Path, Logger: quiet}).Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "held by an unnamed process") {
		t.Error(err)
	}
	defer func() {
		if p := recover(); p == nil {
			t.Error("acquired twice")
		}
		released(t, l)
	}()
	l.Acquire(t.Context())
}
