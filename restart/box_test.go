//go:build linux || darwin

package restart

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// boxed begins a run of a new process with a black box.
func (w *world) boxed(t *testing.T) *Ledger {
	t.Helper()
	l := w.ledger()
	l.Box()
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// die ends the run as SIGKILL does: the kernel takes the lock and the mapping back.
func (l *Ledger) die() {
	if r := l.open; r != nil {
		l.box.open.Store(nil)
		close(r.quit)
		<-r.done
		detach(unsafe.Pointer(r.words))
		r.hold.lock.Unlock()
	}
}

// enter enters sessions, of which none finds the box full.
func (l *Ledger) enter(t *testing.T, sessions ...string) (slots []uint32) {
	t.Helper()
	for _, s := range sessions {
		slot := l.Box().Enter(s)
		if slot == 0 {
			t.Fatalf("%s has no slot", s)
		}
		slots = append(slots, slot)
	}
	return slots
}

func (w *world) runs(t *testing.T) []Run {
	t.Helper()
	runs, err := w.ledger().Runs()
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

func many(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("many ", i))
	}
	return names
}

// The story of a killer session: after the first death it is known, after the second it
// is a suspect, and with Stable without a death it is none any more.
func TestBox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.boxed(t)
		slots := a.enter(t, "ann", "bob", "ann", "cid")
		a.Box().Leave(slots[3])
		time.Sleep(10*time.Second + 100*time.Millisecond)
		open := w.runs(t)
		if r := open[0]; r.Cause != Open || r.InFlight != 2 || !r.Had("ann") || r.Had("cid") {
			t.Errorf("while it runs: %+v", r)
		}
		a.die()
		time.Sleep(time.Minute) // a supervisor's delay

		w.log.Reset()
		b := w.boxed(t)
		r := w.runs(t)[0]
		if r.Cause != Died || r.InFlight != 2 || r.Cut != 0 || !r.Had("ann") || !r.Had("bob") || r.Had("cid") || r.Lasted != 10*time.Second+beat {
			t.Errorf("after its death: %+v", r)
		}
		if got := w.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=WARN msg="run died" ran=10.25s sessions=2`) {
			t.Errorf("the death: %s", got)
		}
		if b.Box().Suspect("ann") {
			t.Error("a suspect after one death")
		}
		b.enter(t, "bob", "dan")
		time.Sleep(5 * time.Second)
		b.die()

		w.log.Reset()
		c := w.boxed(t)
		if got := w.log.String(); !strings.Contains(got, `level=WARN msg="sessions cut again" sessions=1 runs=2`) {
			t.Errorf("the second death: %s", got)
		}
		if table, err := c.Table(); err != nil || !strings.Contains(table, "2 in flight, 1 again") {
			t.Error(table, err)
		}
		if w.runs(t)[0].Had("dan") {
			t.Error("the first run had a session of the second")
		}
		w.log.Reset()
		for range 3 {
			if x := c.Box(); !x.Suspect("bob") || x.Suspect("ann") || x.Suspect("dan") || x.Suspect("") {
				t.Error("the suspects are not bob alone")
			}
		}
		if got := w.log.String(); strings.Count(got, `msg="session suspected" session=bob deaths=2`) != 1 {
			t.Errorf("bob is not named once: %s", got)
		}
		time.Sleep(w.p.filled().Stable)
		if c.Box().Suspect("bob") {
			t.Error("a suspect after Stable")
		}
		c.enter(t, "bob")
		c.End(errRun, "bob")
		if got := w.log.String(); !strings.Contains(got, `msg="sessions cut again" sessions=1 runs=3`) {
			t.Errorf("an orderly end after two deaths: %s", got)
		}
	})
}

// Who is accused, by what happened before.
func TestBoxSuspects(t *testing.T) {
	stable := Policy{}.filled().Stable
	type life struct {
		in    []string
		end   string        // "dies", "stops" (and dies), "ends"; "plain" before it: without a box
		after time.Duration // until the next one
	}
	dies := func(in ...string) life { return life{in, "dies", time.Second} }
	for _, tt := range []struct {
		name   string
		lives  []life
		deaths int
		want   []string
	}{
		{"no death", nil, 0, nil},
		{"one death", []life{dies("a")}, 0, nil},
		{"one death that is enough", []life{dies("a", "b")}, 1, []string{"a", "b"}},
		{"two deaths", []life{dies("a", "b"), dies("b", "c")}, 0, []string{"b"}},
		{"two deaths of three", []life{dies("a", "b"), dies("b", "c"), dies("a", "c")}, 0, []string{"c"}},
		{"three", []life{dies("a", "b"), dies("b", "c"), dies("b", "c")}, 3, []string{"b"}},
		{"a death without it", []life{dies("a"), dies(), dies("a")}, 0, nil},
		{"an orderly end between", []life{dies("a"), {[]string{"b"}, "ends", 0}, dies("a")}, 0, []string{"a"}},
		{"a requested stop accuses none", []life{dies("a"), {[]string{"a", "b"}, "stops", 0}}, 0, nil},
		{"nor two", []life{{[]string{"a"}, "stops", 0}, {[]string{"a"}, "stops", 0}}, 1, nil},
		{"and excuses none", []life{dies("a", "b"), {[]string{"b", "c"}, "stops", 0}, dies("a", "c")}, 0, []string{"a"}},
		{"deaths too far apart", []life{{[]string{"a"}, "dies", stable + time.Minute}, dies("a")}, 0, nil},
		{"a death long ago", []life{dies("a"), {[]string{"a"}, "dies", stable}}, 0, nil},
		{"a requested stop does not prolong it", []life{dies("a"), {[]string{"a"}, "dies", stable / 2}, {nil, "stops", stable / 2}}, 0, nil},
		{"a death without a box between", []life{dies("a"), {nil, "ends", 0}, {nil, "plain dies", 0}, {nil, "plain ends", 0}, dies("a")}, 0, nil},
		{"eight", []life{dies(many(8)...), dies(many(8)...)}, 0, many(8)},
		{"more than eight", []life{dies(many(9)...), dies(many(9)...)}, 0, nil},
		{"a crowd around it", []life{dies(append(many(100), "a")...), dies("b", "a")}, 0, []string{"a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.p.Min, w.p.Max = 1, 1
				for _, life := range tt.lives {
					end, plain := strings.CutPrefix(life.end, "plain ")
					var l *Ledger
					if plain {
						l, _ = w.begin(t)
					} else {
						l = w.boxed(t)
					}
					l.enter(t, life.in...)
					time.Sleep(time.Second)
					switch end {
					case "stops":
						l.requested = func() bool { return true }
						l.open.store(atStop, ^uint64(0))
						fallthrough
					case "dies":
						l.die()
					case "ends":
						l.End(errRun)
					}
					time.Sleep(life.after)
				}
				w.log.Reset()
				l := w.ledger()
				l.Deaths = tt.deaths
				l.Box()
				if err := l.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				defer l.End(nil)
				for _, s := range append(many(101), "a", "b", "c", "d") {
					if got, want := l.Box().Suspect(s), slices.Contains(tt.want, s); got != want {
						t.Errorf("%s is a suspect: %t, want %t", s, got, want)
					}
				}
				if runs := w.runs(t); tt.name == "a crowd around it" && (runs[0].InFlight != 101 || runs[1].Again != 1) {
					t.Errorf("the crowd hides it: %+v", runs[:2])
				}
				if tt.name == "more than eight" && !strings.Contains(w.log.String(), `msg="suspects dropped" sessions=9 most=8`) {
					t.Errorf("not said: %s", &w.log)
				}
			})
		})
	}
}

// A stop is in the header as soon as it is requested.
func TestBoxStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := w.ledger()
		l.Deaths = 1
		l.Box()
		ctx, cancel := context.WithCancel(t.Context())
		if err := l.Begin(ctx); err != nil {
			t.Fatal(err)
		}
		l.enter(t, "ann")
		cancel()
		synctest.Wait()
		l.die()
		n := w.ledger()
		n.Deaths = 1
		n.Box()
		if err := n.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer n.End(nil)
		if n.Box().Suspect("ann") || !w.runs(t)[0].Had("ann") {
			t.Error("the grace period's end accuses ann, or does not know her")
		}
	})
}

// What does not fit is counted. Each entry has its slot, and a slot that is free again
// can be used again.
func TestBoxFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := w.boxed(t)
		var slots []uint32
		none := 0
		for _, s := range many(room + 500) {
			if slot := l.Box().Enter(s); slot != 0 {
				slots = append(slots, slot)
			} else {
				none++
			}
		}
		slices.Sort(slots)
		if n := len(slots); n != len(slices.Compact(slots)) || n < room*95/100 || n > room {
			t.Errorf("%d entries have a slot", n)
		}
		for _, s := range slots[:100] {
			l.Box().Leave(s)
		}
		l.die()
		l = w.boxed(t)
		defer l.End(nil)
		r := w.runs(t)[0]
		if info, err := os.Stat(w.path + boxSuffix); err != nil || info.Size() > 64<<10 {
			t.Error(info, err)
		}
		if r.InFlight != len(slots)-100 || r.Unrecorded != none {
			t.Errorf("%+v, want %d in flight and %d unrecorded", r, len(slots)-100, none)
		}
	})
}

// Entries and leaves of many goroutines, with an end among them: no slot has two owners
// and nothing is left over.
func TestBoxConcurrent(t *testing.T) {
	w := newWorld(t)
	l := w.boxed(t)
	var owners sync.Map
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				slot := l.Box().Enter(fmt.Sprint(g*i%100, " session"))
				if slot == 0 {
					t.Error("no slot")
					return
				}
				if other, taken := owners.LoadOrStore(slot, g); taken {
					t.Errorf("slot %d has the owners %d and %v", slot, g, other)
				}
				owners.Delete(slot)
				l.Box().Leave(slot)
			}
		})
	}
	wg.Wait()
	l.Box().Leave(l.Box().Enter("ann"))
	if debug.SetPanicOnFault(false) {
		t.Error("a fault elsewhere in this goroutine would panic")
	}
	if r := w.runs(t)[0]; r.InFlight != 0 || r.Unrecorded != 0 {
		t.Errorf("%+v", r)
	}
	slots := l.enter(t, "ann")
	for range 4 {
		wg.Go(func() {
			for range 5000 {
				l.Box().Leave(l.Box().Enter("bob"))
			}
		})
	}
	l.End(nil)
	wg.Wait()
	if l.Box().Enter("ann") != 0 {
		t.Error("recorded after the end")
	}
	// An entry that outlives its run does not clear one of the next.
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer l.End(nil)
	l.enter(t, many(room/2)...)
	n := w.runs(t)[1].InFlight
	for i := range uint32(room) {
		l.Box().Leave(slots[0]&^(1<<slotBits-1) | (i + 1))
	}
	if r := w.runs(t)[1]; r.InFlight != n || n != room/2 {
		t.Errorf("%d in flight, then %d", n, r.InFlight)
	}
}

// Nothing is accused or known of another boot, another ledger or an older run.
func TestBoxForeign(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, w *world){
		"a boot between": func(_ *testing.T, w *world) { w.reboot() },
		"an orderly end and a boot between": func(t *testing.T, w *world) {
			l := w.boxed(t)
			l.End(errRun)
			w.reboot()
		},
		"another ledger": func(t *testing.T, w *world) {
			if err := os.Remove(w.path); err != nil {
				t.Fatal(err)
			}
			l, _ := w.begin(t)
			l.End(nil)
			w.begin(t) // dies
		},
		"a death without a box": func(t *testing.T, w *world) { w.begin(t) },
		"an old copy, after a power cut": func(t *testing.T, w *world) {
			old, err := os.ReadFile(w.path + boxSuffix)
			if err != nil {
				t.Fatal(err)
			}
			l := w.boxed(t)
			l.enter(t, "bob")
			l.die()
			if err := os.WriteFile(w.path+boxSuffix, old, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for range 3 { // the next Begin would suspect ann
					l := w.boxed(t)
					l.enter(t, "ann")
					l.die()
				}
				do(t, w)
				w.log.Reset()
				l := w.boxed(t)
				defer l.End(nil)
				if l.Box().Suspect("ann") || strings.Contains(w.log.String(), "black box") || strings.Contains(w.log.String(), "run died") {
					t.Errorf("ann is accused or known: %s", &w.log)
				}
				l.enter(t, "ann")
			})
		})
	}
}

// A process that is killed while it begins loses nothing of the dead run: the swap of
// the areas is done or not done.
func TestBoxSwapTorn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.boxed(t)
		a.enter(t, append(many(room/2), "a", "b")...)
		a.die()
		b := w.boxed(t)
		b.enter(t, append(many(100), "b", "c")...)
		b.requested = func() bool { return true }
		time.Sleep(2 * beat)
		before, err := os.ReadFile(w.path + boxSuffix)
		if err != nil {
			t.Fatal(err)
		}
		start := *b.run
		b.die()
		m := image(slices.Clone(before))
		m.died(start, 0, w.now(), time.Hour)
		want := marks(m.area(1 - m.live()))
		after := slices.Clone(m)
		copy(after, boxMagic)
		after.set(atSum, after.sum())
		for cut := headWords * 8; cut <= boxSize; cut += 1 << 9 { // a write of the areas that ended early
			torn := slices.Concat(before[:headWords*8], after[headWords*8:cut], before[cut:])
			m, err := parse(torn)
			if err != nil {
				t.Fatal(cut, err)
			}
			if m.died(start, 0, w.now(), time.Hour); !sameMarks(want, marks(m.area(1-m.live()))) {
				t.Fatalf("cut at %d: %d marks, want %d", cut, len(marks(m.area(1-m.live()))), len(want))
			}
		}
		if m, err = parse(after); err != nil {
			t.Fatal(err)
		}
		if d := m.died(start, 0, w.now(), time.Hour); d == nil || len(d.cut) != 102 {
			t.Errorf("after the swap: %+v", d)
		}
	})
}

func sameMarks(a, b map[mark]byte) bool {
	for m, note := range a {
		if b[m] != note {
			return false
		}
	}
	return len(a) == len(b)
}

// A mistake in the fields is an error at once, and a Box after Begin panics.
func TestBoxMisuse(t *testing.T) {
	w := newWorld(t)
	for want, l := range map[string]*Ledger{
		"Deaths: -1":      {Path: w.path, Deaths: -1},
		"Deaths: 101":     {Path: w.path, Deaths: 101},
		"BoxPath is Path": {Path: w.path, BoxPath: w.path},
		"MaxSuspects: -1": {Path: w.path, MaxSuspects: -1},
	} {
		if err := l.Begin(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	var none *Box
	if none.Leave(none.Enter("ann")); none.Suspect("ann") {
		t.Error("the nil Box has a suspect")
	}
	l := &Ledger{Path: w.path, sys: &w.system}
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer l.End(nil)
	defer func() {
		if recover() == nil {
			t.Error("Box after Begin does not panic")
		}
	}()
	l.Box()
}

// A death is dated by the last sign of life, so that the time until the next Begin is
// neither a part of the run, which would forgive levels, nor lost for the wait.
func TestDeathDated(t *testing.T) {
	p := Policy{Jitter: -1}.filled()
	start := record{seq: 1, run: 1, level: 4, moment: moment{wall: 5e9, up: 1e9, boot: 1}}
	now := moment{wall: 5e9 + int64(2*time.Hour), up: 1e9 + int64(2*time.Hour), boot: 1}
	end := p.settle(start, record{}, true, now, &death{up: start.up + int64(time.Minute)})
	at := int64(time.Minute + beat)
	if end.moment != (moment{start.wall + at, start.up + at, 1}) || end.took != time.Minute+beat || end.level != 5 {
		t.Errorf("%+v", end)
	}
	if end := p.settle(start, record{}, true, now, &death{up: now.up}); end.moment != now || end.level != 1 {
		t.Errorf("it died just now: %+v", end)
	}
}

// A run that ended well, but could not record that, accuses no session.
func TestBoxEndUnrecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.boxed(t)
		a.enter(t, "ann")
		mend := w.fault("write", errRun)
		a.End(nil)
		mend()
		w.log.Reset()
		l := w.ledger()
		l.Deaths = 1
		l.Box()
		if err := l.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.End(nil)
		if l.Box().Suspect("ann") || strings.Contains(w.log.String(), "run died") {
			t.Errorf("ann is accused: %s", &w.log)
		}
	})
}

// An orderly end after a death knows all that were in flight then, not only the eight
// in the record.
func TestBoxCutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.boxed(t)
		a.enter(t, many(100)...)
		a.die()
		b := w.boxed(t)
		w.log.Reset()
		b.End(errRun, append(many(30), "ann")...)
		if got := w.log.String(); !strings.Contains(got, `msg="sessions cut again" sessions=30 runs=2`) || w.runs(t)[1].Again != 30 {
			t.Errorf("%s, %+v", got, w.runs(t)[1])
		}
	})
}
