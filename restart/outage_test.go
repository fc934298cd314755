package restart

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A disk that is slow to answer does not make the wait longer: its time is a part of it.
func TestLedgerSlowRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 1)
		time.AfterFunc(300*time.Millisecond, w.freezes(true))
		if _, took := w.begin(t); took != time.Second {
			t.Errorf("waits %v", took)
		}
	})
}

// A file whose first Sync takes long, and fails.
type slowSync struct {
	file
	calls *int
}

func (f *slowSync) Sync() error {
	if *f.calls++; *f.calls == 1 {
		time.Sleep(2 * stall)
		return syscall.EIO
	}
	return f.file.Sync()
}

// A start that could not be synced is a warning, also if it took long.
func TestLedgerSlowFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 1)
		time.Sleep(time.Minute)
		good, calls := w.open, 0
		w.open = func(path string) (file, error) {
			f, err := good(path)
			return &slowSync{f, &calls}, err
		}
		if w.begin(t); !strings.Contains(w.log.String(), "ledger unavailable") {
			t.Errorf("%d calls of Sync, no warning: %s", calls, &w.log)
		}
	})
}

// An end that was kept gives way to the next one: if that is in the file, the next
// Begin follows it.
func TestLedgerKeptEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, _ := w.begin(t)
		mend := w.fault("write", syscall.EIO)
		l.End(errRun)
		l.Begin(t.Context())
		mend()
		l.End(errRun)
		began := time.Now()
		if err := l.Begin(t.Context()); err != nil || time.Since(began) != 2*time.Second || l.run.level != 2 {
			t.Errorf("waits %v at level %d, %v", time.Since(began), l.run.level, err)
		}
	})
}

// The answer to an older End does not count as that of the newer.
func TestFrozenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, _ := w.begin(t)
		thaw := w.freezes(false)
		l.End(errRun)
		l.Begin(t.Context())
		l.End(errRun)
		thaw()
		synctest.Wait()
		mend := w.fault("write", syscall.EIO)
		w.patience(t, l, time.Second/2) // takes the answer, and cannot write the newer end
		mend()
		if err := l.Begin(t.Context()); err != nil || l.run.level != 2 {
			t.Errorf("level %d, %v", l.run.level, err)
		}
	})
}

// A request that has won the handshake is waited for: it has changed the file.
func TestAskWon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := new(Ledger).ask(t.Context(), time.Second, func(h *handshake) answer {
			won := h.won()
			time.Sleep(time.Minute)
			return answer{wait: time.Hour, run: map[bool]*record{true: {}}[won]}
		})
		if err != nil || a.wait != time.Hour || a.run == nil {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// On a system with only the wall clock, no run lasts less than no time.
func TestLedgerRunBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boot = 0
		l, _ := w.begin(t)
		w.step = -time.Hour
		l.End(nil)
		table, err := l.Table()
		if lasted := column(table, 4); err != nil || !slices.Equal(lasted, []string{"0s"}) {
			t.Errorf("%v, %v\n%s", lasted, err, table)
		}
	})
}

// A moved file's path leads elsewhere once.
type moved struct {
	file
	calls *int
}

func (f *moved) at(path string) (bool, error) {
	if *f.calls++; *f.calls == 1 {
		return false, nil
	}
	return f.file.at(path)
}

// If the file is replaced while it is being locked, the new one stays free.
func TestGrabReplaced(t *testing.T) {
	w := newWorld(t)
	good, calls := w.open, 0
	w.open = func(path string) (file, error) {
		f, err := good(path)
		return &moved{f, &calls}, err
	}
	if h, err := w.grab(w.path); h != nil || err != nil {
		t.Fatal(h, err)
	}
	h, err := w.grab(w.path)
	if h == nil || err != nil {
		t.Fatal("the file stays locked", err)
	}
	if err := h.release(); err != nil {
		t.Error(err)
	}
}
