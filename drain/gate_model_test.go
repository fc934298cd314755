package drain_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A twin is a gate and a model of it. One goroutine drives both.
type twin struct {
	*testing.T
	*rand.Rand
	drain.Gate
	bare   int        // how much work entered and has not left
	in     []*visit   // work that joined and has not left, oldest first
	left   *visit     // the visit that left last
	drains []*waiting // the Drains that have not returned
	shut   bool
	until  time.Time // the deadline of the last drain that had one
	cut    []string
	names  int
}

// A visit is the model of work that joined.
type visit struct {
	name  string
	since time.Time
	ctx   context.Context
	end   context.CancelCauseFunc // ends the context that Join got
	leave func()
	cut   bool

	why     error // the cause with which ctx has ended
	asked   bool  // Stopping was called with ctx
	softWhy error // the cause with which Stopping's context has ended
}

// A waiting is a Drain under way.
type waiting struct {
	deadline time.Time
	cancel   context.CancelCauseFunc
	err      error
	done     bool
}

const isShut = "drain: the gate is shut: context canceled"

// TestGateModel takes random steps on a gate and its model, and compares the two after
// each step.
func TestGateModel(t *testing.T) {
	lives := 4000
	if testing.Short() {
		lives = 400
	}
	for range 2 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			synctest.Test(t, func(t *testing.T) {
				for i := 0; i < lives && !t.Failed(); i++ {
					w := &twin{T: t, Rand: rand.New(rand.NewPCG(seed, uint64(i)))}
					for n := 10 + w.IntN(50); n > 0 && !t.Failed(); n-- {
						w.step()
						w.compare()
					}
					w.clear()
					if t.Failed() {
						t.Errorf("life %d of seed %d", i, seed)
					}
				}
			})
		})
	}
}

func (w *twin) within() int { return w.bare + len(w.in) }

func (w *twin) step() {
	switch w.IntN(12) {
	case 0, 1:
		if ok := w.Enter(); ok == w.shut {
			w.Errorf("Enter: %v, shut %v", ok, w.shut)
		} else if ok {
			w.bare++
		}
	case 2, 3:
		if w.bare > 0 || len(w.in) == 0 { // otherwise it would end work that joined
			w.leaveBare()
		}
	case 4, 5:
		w.join()
	case 6, 7:
		w.leaveOne()
	case 8:
		if v := w.any(); v != nil {
			v.asked = true
			if v.softWhy == nil && w.shut {
				v.softWhy = cmp.Or(v.why, errors.New(isShut))
			}
			v.softWhy = cmp.Or(v.softWhy, v.why)
		}
	case 9:
		if v := w.any(); v != nil {
			why := errors.New("its own end")
			v.end(why)
			v.ends(why)
		}
	case 10:
		w.sleep(time.Duration(w.IntN(20)) * ms)
	case 11:
		if w.IntN(3) == 0 { // later, mostly
			w.drain()
		}
	}
}

// any returns a random visit, or nil if there is none.
func (w *twin) any() *visit {
	if len(w.in) == 0 {
		return nil
	}
	return w.in[w.IntN(len(w.in))]
}

func (w *twin) leaveBare() {
	defer func() {
		if v := recover(); (v != nil) != (w.bare == 0) {
			w.Errorf("Leave with %d within: panic %v", w.bare, v)
		}
		w.bare = max(w.bare-1, 0)
		w.idle()
	}()
	w.Leave()
}

func (w *twin) join() {
	ctx, end := context.WithCancelCause(w.Context())
	w.names++
	v := &visit{name: strconv.Itoa(1000 + w.names), since: time.Now(), end: end}
	var ok bool
	if v.ctx, v.leave, ok = w.Join(ctx, v.name); ok == w.shut {
		w.Errorf("Join: %v, shut %v", ok, w.shut)
	} else if ok {
		w.in = append(w.in, v)
		return
	}
	v.leave()
	if v.ctx != ctx || ctx.Err() != nil {
		w.Errorf("a refused Join: context %v, %v", v.ctx, ctx.Err())
	}
	end(nil)
}

func (w *twin) leaveOne() {
	v := w.any()
	if v == nil {
		return
	}
	v.leave()
	if w.IntN(2) == 0 {
		v.leave()
	}
	v.ends(context.Canceled)
	w.in = slices.DeleteFunc(w.in, func(o *visit) bool { return o == v })
	w.left = v
	w.idle()
}

// ends records that the visit's context ended with the cause why.
func (v *visit) ends(why error) {
	v.why = cmp.Or(v.why, why)
	if v.asked {
		v.softWhy = cmp.Or(v.softWhy, v.why)
	}
}

// idle checks that all Drains have returned, if no work is within.
func (w *twin) idle() {
	if w.within() > 0 {
		return
	}
	synctest.Wait()
	for _, d := range w.drains {
		if !d.done || d.err != nil {
			w.Errorf("nothing is within: Drain has returned %v, with %v", d.done, d.err)
		}
	}
	w.drains = nil
}

// drain begins a Drain: one that waits, or one whose context has already ended.
func (w *twin) drain() {
	ctx, cancel := context.WithCancelCause(w.Context())
	hasDeadline := w.IntN(2) == 0
	d := &waiting{deadline: time.Now().Add(time.Hour), cancel: cancel}
	if hasDeadline {
		d.deadline = time.Now().Add(time.Duration(1+w.IntN(30)) * ms)
		bounded, release := context.WithDeadline(ctx, d.deadline)
		w.Cleanup(release)
		ctx = bounded
	}
	now := w.IntN(2) == 0
	why := errors.New("no time")
	if now {
		cancel(why)
	}
	go func() {
		d.err = w.Drain(ctx)
		d.done = true
	}()
	synctest.Wait()

	w.shut = true
	if hasDeadline {
		w.until = d.deadline
	}
	for _, v := range w.in {
		if v.asked {
			v.softWhy = cmp.Or(v.softWhy, errors.New(isShut))
		}
	}
	w.drains = append(w.drains, d)
	w.idle()
	if now && w.within() > 0 {
		w.gaveUp(d, why)
	}
}

// gaveUp checks the error of a Drain that ended with work within, and records what
// that Drain cut.
func (w *twin) gaveUp(d *waiting, why error) {
	synctest.Wait()
	var names []string
	for _, v := range w.in {
		v.ends(why)
		if !v.cut {
			v.cut = true
			w.cut = append(w.cut, v.name)
		}
		names = append(names, fmt.Sprint(v.name, " ", time.Since(v.since)))
	}
	who := ""
	if n := len(names) - 8; n > 0 {
		names = append(names[:8], fmt.Sprint(n, " more"))
	}
	if len(names) > 0 {
		who = " (" + strings.Join(names, ", ") + ")"
	}
	want := fmt.Sprintf("drain: %d still in%s: %v", w.within(), who, why)
	if !d.done || fmt.Sprint(d.err) != want || !errors.Is(d.err, why) {
		w.Errorf("Drain: %v\nwant   %s", d.err, want)
	}
	w.drains = slices.DeleteFunc(w.drains, func(o *waiting) bool { return o == d })
}

// sleep lets time pass, but stops at the next deadline of a Drain. It may cancel that
// Drain instead.
func (w *twin) sleep(d time.Duration) {
	if len(w.drains) == 0 {
		time.Sleep(d)
		return
	}
	first := slices.MinFunc(w.drains, func(a, b *waiting) int { return a.deadline.Compare(b.deadline) })
	if time.Until(first.deadline) <= d {
		time.Sleep(time.Until(first.deadline))
		for _, o := range slices.Clone(w.drains) {
			if o.deadline.Equal(first.deadline) {
				w.gaveUp(o, context.DeadlineExceeded)
			}
		}
	} else if w.IntN(2) == 0 {
		why := errors.New("no more time")
		first.cancel(why)
		w.gaveUp(first, why)
	} else {
		time.Sleep(d)
	}
}

// compare compares all that a caller can read from the gate with the model.
func (w *twin) compare() {
	synctest.Wait()
	for _, d := range w.drains {
		if d.done {
			w.Errorf("%d within: Drain has returned %v", w.within(), d.err)
		}
	}
	if got := w.Cut(); !slices.Equal(got, w.cut) {
		w.Errorf("Cut: %v, want %v", got, w.cut)
	}
	for _, v := range append(w.in, w.left) {
		if v == nil {
			continue
		}
		if got := context.Cause(v.ctx); got != v.why {
			w.Errorf("%s: context ended by %v, want %v", v.name, got, v.why)
		}
		if !v.asked {
			continue
		}
		soft := drain.Stopping(v.ctx)
		if got := context.Cause(soft); fmt.Sprint(got) != fmt.Sprint(v.softWhy) || (soft.Err() != nil) != (got != nil) {
			w.Errorf("%s: Stopping ended by %v, want %v", v.name, got, v.softWhy)
		}
		if d, ok := soft.Deadline(); !d.Equal(w.until) || ok == w.until.IsZero() {
			w.Errorf("%s: deadline of Stopping %v, %v, want %v", v.name, d, ok, w.until)
		}
	}
}

// clear ends a life: all work leaves, and a last Drain returns nil.
func (w *twin) clear() {
	for len(w.in) > 0 {
		w.leaveOne()
	}
	for w.bare > 0 {
		w.leaveBare()
	}
	w.leaveBare()
	w.compare()
	if err := w.Drain(w.Context()); err != nil || w.Enter() {
		w.Errorf("at the end: %v, or admitted", err)
	}
}
