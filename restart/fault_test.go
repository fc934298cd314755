package restart

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"
)

// A faulty file fails each call for which it has an error.
type faulty struct {
	file
	read, write, sync error
}

func (f *faulty) ReadAt(b []byte, off int64) (int, error) {
	if f.read != nil {
		return 0, f.read
	}
	return f.file.ReadAt(b, off)
}

func (f *faulty) WriteAt(b []byte, off int64) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return f.file.WriteAt(b, off)
}

func (f *faulty) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	return f.file.Sync()
}

// fault makes the world's disk fail in one place, and returns how to mend it.
func (w *world) fault(place string, err error) (mend func()) {
	open, lock := w.open, w.lock
	w.open = func(path string) (file, error) {
		if place == "open" {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		f, e := open(path)
		if e != nil {
			return nil, e
		}
		bad := &faulty{file: f}
		switch place {
		case "read":
			bad.read = err
		case "write":
			bad.write = err
		case "sync":
			bad.sync = err
		}
		return bad, nil
	}
	if place == "lock" {
		w.lock = func(*flock.Flock) (bool, error) { return false, err }
	}
	return func() { w.open, w.lock = open, lock }
}

// between makes the disk fail for a time.
func (w *world) between(from, to time.Duration, place string, err error) {
	begin, good := time.Now(), w.open
	w.fault(place, err)
	bad := w.open
	w.open = func(path string) (file, error) {
		if d := time.Since(begin); from <= d && d < to {
			return bad(path)
		}
		return good(path)
	}
}

// Whatever the disk refuses, a run begins after Min or the delay that is left, with
// one warning. Its end adds no other one.
func TestLedgerFaults(t *testing.T) {
	for _, err := range []error{syscall.EROFS, syscall.EACCES, syscall.ENOSPC, syscall.EIO} {
		for _, place := range []string{"open", "lock", "read", "write"} {
			for _, level := range []int{0, 3} {
				t.Run(place+" "+err.Error()+" level "+string(rune('0'+level)), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						w.fail(t, level)
						mend := w.fault(place, err)
						for i := range 3 {
							w.log.Reset()
							l, took := w.begin(t)
							want := time.Second
							if i == 0 && level > 0 && place != "read" { // what can be read is owed
								want = 4 * time.Second
							}
							if got := w.log.String(); took != want || strings.Count(got, "ledger unavailable") != 1 || !strings.Contains(got, err.Error()) {
								t.Errorf("waits %v, want %v; %q", took, want, got)
							}
							w.log.Reset()
							if l.End(errRun); w.log.Len() != 0 {
								t.Errorf("warned again: %s", &w.log)
							}
						}
						mend()
						l, _ := w.begin(t)
						defer w.fault(place, err)()
						w.log.Reset()
						if l.End(nil); strings.Count(w.log.String(), "ledger unavailable") != 1 {
							t.Errorf("the end is lost without a word: %q", &w.log)
						}
					})
				})
			}
		}
	}
}

// A disk that does not sync still keeps the history of its processes.
func TestLedgerNoSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, _ := w.begin(t)
		l.stop()
		w.fault("sync", syscall.EIO)
		for i, want := range []time.Duration{1, 1, 2, 4} {
			w.log.Reset()
			l, took := w.begin(t)
			if took != want*time.Second || l.run == nil || l.run.level != i || strings.Count(w.log.String(), "ledger unavailable") != 1 {
				t.Errorf("waits %v, %+v; %s", took, l.run, &w.log)
			}
			l.End(errRun)
		}
	})
}

// A fault that goes away during the wait costs no record, and no level.
func TestLedgerFaultPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 3)
		w.between(0, time.Second/2, "open", syscall.EIO)
		if l, took := w.begin(t); took != 4*time.Second || l.run == nil || l.run.level != 3 {
			t.Errorf("%v, %+v", took, l.run)
		}
	})
}

// A fault that begins during the wait does not make the next start immediate.
func TestLedgerFaultComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 1)
		time.Sleep(900 * time.Millisecond)
		w.between(50*time.Millisecond, time.Hour, "write", syscall.ENOSPC)
		if l, took := w.begin(t); took != time.Second || l.run.seq != 0 || !strings.Contains(w.log.String(), "no space left") {
			t.Errorf("%v, %+v, %s", took, l.run, &w.log)
		}
	})
}

func TestLedgerNoDirectory(t *testing.T) {
	for name, path := range map[string]func(dir string) string{
		"missing":     func(dir string) string { return filepath.Join(dir, "none", "ledger") },
		"a directory": func(dir string) string { return dir },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.path = path(t.TempDir())
				for range 2 {
					w.log.Reset()
					if _, took := w.begin(t); took != time.Second || strings.Count(w.log.String(), "ledger unavailable") != 1 {
						t.Errorf("waits %v; %s", took, &w.log)
					}
				}
			})
		})
	}
}

// While another process keeps the ring locked for longer than usual, the history is
// read and nothing is written.
func TestLedgerBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 4)
		before, _ := os.ReadFile(w.path)
		h, err := w.grab(w.path)
		if h == nil || err != nil {
			t.Fatal(err)
		}
		l, took := w.begin(t)
		h.release()
		after, _ := os.ReadFile(w.path)
		if took < 8*time.Second || took > 8*time.Second+250*time.Millisecond || l.run.seq != 0 || !bytes.Equal(before, after) {
			t.Errorf("waits %v, %+v", took, l.run)
		}
	})
}

// If a run's end could not be written, every other process takes the run for dead. Its
// own process knows the end, and writes it as soon as it can.
func TestLedgerEndLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, _ := w.begin(t)
		mend := w.fault("write", syscall.EIO)
		for i, do := range []func(){func() {}, func() {}, mend, func() {}} {
			l.End(errRun)
			do()
			began := time.Now()
			if err := l.Begin(t.Context()); err != nil || time.Since(began) != time.Second<<i || l.run.level != i+1 {
				t.Errorf("run %d waits %v at level %d, %v", i, time.Since(began), l.run.level, err)
			}
		}
		l.stop()
		table, err := l.Table()
		// The first run's end was written too late, and the second's start has no record.
		if ends := column(table, -2)[1:]; err != nil || !slices.Equal(ends, []string{"failed", "failed", "stopped"}) {
			t.Errorf("%v, %v\n%s", ends, err, table)
		}
	})
}

// column returns a column of a table without its head. A negative i counts from the
// last column.
func column(table string, i int) (words []string) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		words = append(words, f[(i+len(f))%len(f)])
	}
	return words[1:]
}

// After a read-only remount the history still counts. Later runs count too, within
// their own process.
func TestLedgerReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 3)
		before, _ := os.ReadFile(w.path)
		mend := w.fault("open", syscall.EROFS)
		l := w.ledger()
		for i := range 4 {
			w.log.Reset()
			began := time.Now()
			if err := l.Begin(t.Context()); err != nil || time.Since(began) != 4*time.Second<<i || strings.Count(w.log.String(), "ledger unavailable") != 1 {
				t.Errorf("waits %v, %v; %s", time.Since(began), err, &w.log)
			}
			w.log.Reset()
			if l.End(errRun); w.log.Len() > 0 {
				t.Errorf("warned again: %s", &w.log)
			}
		}
		if after, _ := os.ReadFile(w.path); !bytes.Equal(before, after) {
			t.Error("it was written")
		}
		mend()
		// The level goes on from memory, and then from the file.
		for i, l := range []*Ledger{l, w.ledger()} {
			began := time.Now()
			if err := l.Begin(t.Context()); err != nil || time.Since(began) != 64*time.Second<<i || l.run.level != 7+i {
				t.Errorf("waits %v, %v; %s", time.Since(began), err, &w.log)
			}
			l.End(errRun)
		}
	})
}
