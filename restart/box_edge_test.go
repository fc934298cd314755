//go:build linux || darwin

package restart

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// content returns the file of the black box.
func (w *world) content(t *testing.T) image {
	t.Helper()
	b, err := os.ReadFile(w.path + boxSuffix)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// An entry or a leave that is late by a whole run stores into no file.
func TestBoxDetached(t *testing.T) {
	w := newWorld(t)
	l := w.boxed(t)
	r := l.open
	l.enter(t, "ann")
	l.End(nil)
	before := w.content(t)
	if r.enter(r.salt.mark("bob")) == 0 {
		t.Error("the late entry finds no memory")
	}
	if r.store(atEnd, 0); r.faulty.Load() != nil || !slices.Equal(before, w.content(t)) {
		t.Error("the late stores are in the file, or fault")
	}
}

// An entry that is late by an end and a begin of the same process is not in the next
// run, which would never see it leave.
func TestBoxLateEntry(t *testing.T) {
	w := newWorld(t)
	l := w.boxed(t)
	late := l.open
	l.End(nil)
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer l.End(nil)
	late.enter(late.salt.mark("ann"))
	late.store(atEnd, 1)
	if r := w.runs(t)[1]; r.InFlight != 0 || r.Had("ann") || w.content(t).word(atEnd) != 0 {
		t.Errorf("the late stores are in the next run: %+v", r)
	}
}

// After a fault in the mapping, what leaves is not recorded. So the next Begin accuses
// none of what was in flight then.
func TestBoxFaultAccusesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := w.boxed(t)
		l.enter(t, "ann")
		func() {
			defer l.open.contain(false)
			panic(errRun)
		}()
		if l.Box().Enter("bob") != 0 {
			t.Error("recorded after a fault")
		}
		l.die()
		l = w.ledger()
		l.Deaths = 1
		l.Box()
		if err := l.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.End(nil)
		if l.Box().Suspect("ann") || w.runs(t)[0].InFlight != 0 {
			t.Errorf("ann is accused: %+v", w.runs(t)[0])
		}
	})
}

// A Begin that its caller gave up while the disk hung leaves the box to the next one.
func TestBoxFrozenBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boxed(t).End(errRun)
		time.Sleep(time.Minute) // nothing is owed
		thaw := w.freezes(false)
		l := w.ledger()
		box := l.Box()
		w.patience(t, l, time.Second)
		thaw()
		synctest.Wait()
		if l.run != nil || box.Enter("ann") != 0 {
			t.Error("there is a run")
		}
		w.log.Reset()
		l = w.boxed(t)
		defer l.End(nil)
		if l.enter(t, "ann"); strings.Contains(w.log.String(), "black box") || w.content(t).word(atRun) != l.run.run {
			t.Errorf("it is not free: %s", &w.log)
		}
	})
}

// BoxPath says where the box is, for Begin and for Runs, and nothing is beside the ledger.
func TestBoxPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := filepath.Join(t.TempDir(), "box")
		for i := range 3 {
			l := w.ledger()
			l.BoxPath = path
			l.Box()
			if err := l.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.enter(t, "ann")
			runs, err := l.Runs()
			if err != nil || runs[i].InFlight != 1 || l.Box().Suspect("ann") != (i == 2) {
				t.Error(i, runs, err)
			}
			l.die()
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		if names, err := os.ReadDir(filepath.Dir(w.path)); err != nil || len(names) != 1 {
			t.Error(names, err)
		}
	})
}

// An order of writes.
type order []int64

func (o *order) WriteAt(b []byte, off int64) (int, error) {
	*o = append(*o, off)
	return len(b), nil
}

// The header says what the areas mean, so it is the last to be written.
func TestBoxWriteOrder(t *testing.T) {
	var o order
	if err := make(image, boxSize).write(&o); err != nil || len(o) < 2 || slices.Index(o, 0) != len(o)-1 {
		t.Error(o, err)
	}
}

// More deaths in a row than a note can count accuse as the highest count does.
func TestBoxManyDeaths(t *testing.T) {
	m, start := twice()
	b := start.salt.mark("b")
	for i := range 300 {
		start.run++
		start.up = int64(100 + 10*i)
		now := moment{up: start.up + 5, boot: 1}
		m.begin(start)
		m.set(headWords+int(m.live())*room+i, uint64(b))
		d := m.died(start, 0, now, time.Hour)
		if d == nil || len(d.cut) != 1 {
			t.Fatalf("death %d: %+v", i, d)
		}
		if some, n, _ := m.accused(min(i, 100), 1, now, time.Hour); n != 1 || some[0] != b {
			t.Fatalf("death %d: %x", i, some)
		}
	}
}

// A full box that dies in a requested stop has no room for all that were accused
// before. No mark of another area is touched then.
func TestBoxFullOfAccused(t *testing.T) {
	m, start := twice()
	fill := func(name string) {
		start.run++
		m.begin(start)
		for i, s := range many(room - 2) {
			m.set(headWords+int(m.live())*room+i, uint64(start.salt.mark(name+s)))
		}
	}
	now := moment{up: 100, boot: 1}
	fill("first")
	m.died(start, 0, now, time.Hour)
	fill("second")
	m.set(atStop, ^uint64(0))
	clear(m.area(1 - m.live())[8*(room-2):]) // as died left it
	d := m.died(start, 0, now, time.Hour)
	if len(d.cut) != room-2 || len(d.again) != 0 {
		t.Errorf("%d in flight, %d again", len(d.cut), len(d.again))
	}
	if _, n, _ := m.accused(1, 8, now, time.Hour); n != 2 {
		t.Errorf("%d are still accused, want the 2 for which there is room", n)
	}
}

// A session in flight at a death and at a stop after that is one suspect, not two.
func TestBoxAccusedOnce(t *testing.T) {
	m, start := twice()
	now := moment{up: 100, boot: 1}
	m.died(start, 0, now, time.Hour)
	start.run++
	m.begin(start)
	m.set(headWords+int(m.live())*room, uint64(start.salt.mark("b")))
	m.set(atStop, 1)
	m.died(start, 0, now, time.Hour)
	if _, n, _ := m.accused(2, 8, now, time.Hour); n != 1 {
		t.Errorf("%d", n)
	}
}

// A stop that was requested stays one if any byte of its word is damaged or lost.
func TestBoxStopWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, stop := context.WithCancel(t.Context())
		l := w.ledger()
		l.Box()
		if err := l.Begin(ctx); err != nil {
			t.Fatal(err)
		}
		defer l.End(nil)
		stop()
		synctest.Wait()
		for i := range 8 {
			m := w.content(t)
			if m[8*atStop+i] = 0; m.word(atStop) == 0 {
				t.Errorf("byte %d alone says it", i)
			}
		}
	})
}

// A Ledger that begins again has the suspects of that Begin, not those of an earlier one.
func TestBoxReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.p.Min, w.p.Max = 1, 1
		for range 2 {
			l := w.boxed(t)
			l.enter(t, "ann")
			l.die()
		}
		l := w.boxed(t)
		if !l.Box().Suspect("ann") {
			t.Error("ann is no suspect")
		}
		l.End(errRun)
		if err := os.Remove(w.path + boxSuffix); err != nil {
			t.Fatal(err)
		}
		if err := l.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.End(nil)
		if l.Box().Suspect("ann") {
			t.Error("a suspect of an earlier Begin")
		}
	})
}

// What a box had in flight belongs to its run, not to a later one without a box.
func TestBoxOfAnotherRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := w.boxed(t)
		l.enter(t, "ann")
		l.die()
		plain, _ := w.begin(t)
		defer plain.End(nil)
		if r := w.runs(t)[1]; r.Cause != Open || r.InFlight != 0 || r.Had("ann") {
			t.Errorf("%+v", r)
		}
	})
}

// If neither the ledger nor the box can be used, one line says so, as both are in the
// same directory.
func TestBoxAndLedgerFail(t *testing.T) {
	for _, place := range []string{"open", "lock", "read", "write"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.boxed(t).stop() // nothing is owed
			mend := w.fault(place, syscall.EROFS)
			w.log.Reset()
			l := w.boxed(t)
			if got := w.log.String(); strings.Count(got, "unavailable") != 1 || !strings.Contains(got, "ledger unavailable") {
				t.Errorf("%s: %s", place, got)
			}
			mend()
			l.End(nil)
		})
	}
}
