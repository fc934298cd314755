package restart

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// A boot lowers the level by one if the machine had been up for Stable, and never below
// zero. What a run that the boot ended had lasted counts as uptime.
func TestLedgerBoot(t *testing.T) {
	stable := Policy{}.filled().Stable
	for _, tt := range []struct {
		level   int
		up, ran time.Duration // before the run, and the run
		dies    bool
		want    int
	}{
		{3, stable - 1, 0, false, 3},
		{3, stable, 0, false, 2},
		{0, stable, 0, false, 0},
		{0, 2 * stable, 0, false, 0},
		{4, time.Minute, 2*stable + time.Second, true, 4 - 2 + 1 - 1},
		{4, time.Minute, stable / 2, true, 4 + 1},
	} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.fail(t, tt.level)
				l, _ := w.begin(t)
				if !tt.dies {
					w.up = time.Now().Add(-tt.up)
					l.stop()
				} else {
					l.run.up = int64(tt.up) // as if it had begun then
					w.up = time.Now().Add(-tt.up)
					w.edit(w.path, func(r *ring) { r.put(*l.run) })
					time.Sleep(tt.ran)
				}
				w.reboot()
				time.Sleep(time.Second)
				if l, _ = w.begin(t); l.run.level != tt.want {
					t.Errorf("level %d, want %d", l.run.level, tt.want)
				}
				if table, err := l.Table(); err != nil || !strings.Contains(table, fmt.Sprintf("  %d  ", tt.want)) {
					t.Errorf("%v\n%s", err, table)
				}
			})
		})
	}
}

// Two rings in the same state do not have the same jitter.
func TestLedgerJitterDiffers(t *testing.T) {
	waits := map[time.Duration]bool{}
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.p.Jitter = 1
			w.fail(t, 6)
			_, took := w.begin(t)
			waits[took] = true
		})
	}
	if len(waits) < 4 {
		t.Errorf("five machines wait for %v", waits)
	}
}

// A record that cannot be is none, even if its sum is right. One of an earlier
// version is none too, but no reason to leave the file alone.
func TestDecodeImplausible(t *testing.T) {
	good := record{seq: 9, run: 8, cause: failed, level: 2}
	for name, spoil := range map[string]func(b []byte){
		"no seq":             func(b []byte) { binary.LittleEndian.PutUint64(b[8:], 0) },
		"no run":             func(b []byte) { binary.LittleEndian.PutUint64(b[16:], 0) },
		"a run after itself": func(b []byte) { binary.LittleEndian.PutUint64(b[16:], 10) },
		"a later cause":      func(b []byte) { binary.LittleEndian.PutUint64(b[24:], uint64(causes)) },
		"a huge level":       func(b []byte) { binary.LittleEndian.PutUint64(b[32:], math.MaxInt32+1) },
		"an earlier version": func(b []byte) { b[len(head)-1] = version - 1 },
	} {
		b := good.encode()
		if r, _ := decode(b); r != good {
			t.Fatalf("%+v", r)
		}
		spoil(b)
		if r, newer := decode(seal(b)); r.seq != 0 || newer {
			t.Errorf("%s: %+v, newer %v", name, r, newer)
		}
	}
}

// counted counts the files of a system that are open.
func (w *world) counted() *int {
	n := new(int)
	for _, open := range []*func(string) (file, error){&w.open, &w.look} {
		good := *open
		*open = func(path string) (file, error) {
			f, err := good(path)
			if err != nil {
				return nil, err
			}
			*n++
			return &closing{f, n}, nil
		}
	}
	return n
}

type closing struct {
	file
	n *int
}

func (f *closing) Close() error { *f.n--; return f.file.Close() }

// No file stays open, also if the ledger can only be read or the lock is taken.
func TestNoFileStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 1)
		n := w.counted()
		mend := w.fault("open", syscall.EROFS)
		l, _ := w.begin(t)
		l.End(nil)
		mend()
		mend = w.fault("lock", syscall.EIO)
		l, _ = w.begin(t)
		l.End(nil)
		mend()
		path := filepath.Join(t.TempDir(), "lock")
		first, second := acquired(t, &Lock{Path: path, sys: &w.system}), &Lock{Path: path, sys: &w.system, Logger: w.p.Logger}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := second.Acquire(ctx); err == nil {
			t.Error("two hold the lock")
		}
		if released(t, first); *n != 0 {
			t.Errorf("%d files are open", *n)
		}
	})
}

// If a damaged ledger cannot be copied or emptied, the warning says why, and no
// part of a copy is left.
func TestLedgerCorruptFaults(t *testing.T) {
	for _, place := range []string{"copy", "sync"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			b := full()
			for i := range slots {
				b[i*slotSize+100] ^= 1
			}
			if err := os.WriteFile(w.path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if good := w.open; place == "sync" {
				w.fault("sync", syscall.EIO)
			} else {
				w.open = func(path string) (file, error) {
					f, err := good(path)
					return &unreadable{file: f}, err
				}
			}
			w.begin(t)
			if !strings.Contains(w.log.String(), syscall.EIO.Error()) {
				t.Errorf("%s: %s", place, &w.log)
			}
			if after, _ := os.ReadFile(w.path); place == "copy" && !bytes.Equal(after, b) {
				t.Error("the ledger is emptied without a copy")
			}
			if _, err := os.Stat(w.path + ".corrupt"); place == "copy" && err == nil {
				t.Error("a part of a copy is left")
			}
		})
	}
}

// An unreadable file can be read once.
type unreadable struct {
	file
	n int
}

func (f *unreadable) ReadAt(b []byte, off int64) (int, error) {
	if f.n++; f.n > 1 {
		return 0, syscall.EIO
	}
	return f.file.ReadAt(b, off)
}

// The table shows the process of a run whose start was overwritten.
func TestLedgerTableEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	b := make([]byte, ringSize)
	r := record{seq: 70, run: 69, cause: failed, pid: 4711}
	copy(b[70%slots*slotSize:], r.encode())
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if table, err := (&Ledger{Path: path}).Table(); err != nil || !strings.Contains(table, "  4711  ") {
		t.Errorf("%v\n%s", err, table)
	}
}

// If ctx has ended, Begin does nothing more, also during a run.
func TestLedgerBeginEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(io.EOF)
		n := w.counted()
		opened := false
		good := w.open
		w.open = func(path string) (file, error) { opened = true; return good(path) }
		err := w.ledger().Begin(ctx)
		if synctest.Wait(); err != io.EOF || opened || *n != 0 {
			t.Errorf("%v, opened %v", err, opened)
		}
	})
}

// Wrap returns f's error if ctx ended while f ran, without a warning and without a wait.
func TestWrapEndedInRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		err := w.p.Wrap(func(context.Context) error { cancel(io.EOF); return errRun })(ctx)
		if err != errRun || w.log.Len() > 0 {
			t.Errorf("%v, %s", err, &w.log)
		}
	})
}

// The file of a lock is one line for people, which ends in a line break. Without a
// Linger, no holder that died is mentioned.
func TestLockLine(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "lock")
	acquired(t, &Lock{Path: path}).dies()
	l := acquired(t, &Lock{Path: path, Logger: w.p.Logger})
	if w.log.Len() > 0 {
		t.Errorf("%s", &w.log)
	}
	released(t, l)
	if b, err := os.ReadFile(path); err != nil || len(b) != 1+lineSize || !bytes.HasSuffix(b, []byte("\n")) || bytes.Count(b, []byte("\n")) != 1 {
		t.Errorf("%q, %v", b, err)
	}
}

// If a fault comes after a wait of Min, there is nothing left to wait for, and no
// second wait is announced.
func TestLedgerNoSecondWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 1)
		w.between(time.Second/2, time.Hour, "write", syscall.ENOSPC)
		told := 0
		ctx := context.WithValue(t.Context(), carried.WaitKey, carried.Waits(func(string, time.Time) { told++ }))
		if err := w.ledger().Begin(ctx); err != nil || told != 1 {
			t.Errorf("%v, %d waits announced", err, told)
		}
	})
}
