package drain_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
)

var seedFlag = flag.Uint64("seed", 0, "of the random plans; 0 means a new one")

// TestPlanProperties runs random plans of steps that behave in every way, and
// compares what became of them with a second account of the rules, in
// plan_oracle_test.go, that is written from the documentation.
func TestPlanProperties(t *testing.T) {
	plans := 2000
	if testing.Short() {
		plans = 200
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	for shard := range uint64(2) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for i := range plans / 2 {
					tr := newTrial(rand.New(rand.NewPCG(seed+shard, uint64(i))))
					tr.run(t)
					if tr.check(t); t.Failed() {
						t.Fatalf("plan %d, -seed %d:\n%v", i, seed, tr)
					}
				}
			})
		})
	}
}

// A trial is a plan, what happens around it, and what was seen.
type trial struct {
	plan   drain.Plan
	budget time.Duration
	lives  [][]*life     // a phase's each
	tiny   bool          // all within nanoseconds, so that everything falls together
	ago    time.Duration // the signal, before Run; negative means none
	force  time.Duration // after Run's begin; 0 also means before, negative means none
	before bool
	outer  time.Duration // after Run's begin, another drain stops waiting for this one; 0 means none

	begin  time.Time
	report drain.Report
	err    error
	log    recorder
}

// A life is how a step behaves, and what was done to it.
type life struct {
	need  time.Duration // Stop's, if nothing ends it before
	ends  how           // then
	obeys bool          // it returns at the end of its context,
	lag   time.Duration // so much later,
	bow   how           // so
	kill  *struct {
		need  time.Duration
		ends  how
		frees bool // a Stop that does not obey
	}

	freed           chan struct{}
	stopped, killed []time.Time
	ctx             context.Context
}

type how int

const (
	fine how = iota
	fails
	panics
	exits
)

func (e how) end(err error) error {
	switch e {
	case fails:
		return err
	case panics:
		panic("oh")
	case exits:
		runtime.Goexit()
	}
	return nil
}

func (l *life) stop(ctx context.Context) error {
	l.stopped, l.ctx = append(l.stopped, time.Now()), ctx
	done := ctx.Done()
	if !l.obeys {
		done = nil
	}
	select {
	case <-time.After(l.need):
		return l.ends.end(errors.New("no"))
	case <-l.freed:
		return nil
	case <-done:
		time.Sleep(l.lag)
		return l.bow.end(context.Cause(ctx))
	}
}

func (l *life) doKill() {
	l.killed = append(l.killed, time.Now())
	if l.kill.frees && !l.obeys {
		defer close(l.freed)
	}
	time.Sleep(l.kill.need)
	l.kill.ends.end(nil)
}

func newTrial(r *rand.Rand) *trial {
	tr := &trial{tiny: r.IntN(10) == 0, ago: -1, force: -1}
	// up returns a duration up to d and its own nanoseconds, so that what is not
	// meant to fall together does not.
	up := func(d time.Duration) time.Duration {
		if tr.tiny {
			return time.Duration(r.IntN(12))
		}
		return 1 + time.Duration(r.Int64N(int64(d)))
	}
	odds := func(n int) bool { return r.IntN(n) == 0 }
	tr.budget = 20*ms + up(time.Minute)
	if tr.tiny {
		tr.budget = 1 + up(0)
	}
	left := tr.budget
	for i := range 1 + r.IntN(5) {
		p := drain.Phase{Name: fmt.Sprintf("phase %d", i)}
		if odds(2) {
			p.Reserve = min(up(tr.budget/3), left)
			if odds(20) {
				p.Reserve = left
			}
			left -= p.Reserve
		}
		if odds(2) {
			p.Timeout = p.Reserve + up(tr.budget)
		}
		var lives []*life
		for j := range r.IntN(4) {
			l := &life{need: up(tr.budget / 3), ends: how(max(r.IntN(7)-3, 0)), obeys: odds(2)}
			switch {
			case odds(6):
				l.need = up(tr.budget * 2)
			case odds(2):
				l.need = up(ms)
			}
			if l.bow = 1 + how(max(r.IntN(5)-2, 0)); odds(2) {
				l.lag = up(tr.budget / 20)
				l.bow = how(r.IntN(4))
			}
			s := drain.Step{Name: fmt.Sprintf("step %d", j), Stop: l.stop}
			if odds(2) {
				s.Kill = l.doKill
				l.kill = &struct {
					need  time.Duration
					ends  how
					frees bool
				}{up(tr.budget / 20), []how{fine, fine, fine, panics, exits}[r.IntN(5)], odds(2)}
				if odds(3) {
					l.kill.need = 0
				}
			}
			lives, p.Steps = append(lives, l), append(p.Steps, s)
		}
		tr.lives, tr.plan.Phases = append(tr.lives, lives), append(tr.plan.Phases, p)
	}
	tr.plan.Budget = tr.budget
	if odds(3) {
		tr.ago = up(tr.budget)
		if odds(3) {
			tr.ago = up(3 * tr.budget)
		}
	}
	if odds(4) {
		tr.outer = up(2 * tr.budget)
	}
	calm := tr.oracle(never)
	whole := calm[len(calm)-1].end
	switch r.IntN(4) {
	case 0:
		tr.force, tr.before = 0, true
	case 1:
		tr.force = up(whole + ms)
	case 2: // it falls together with something
		if e := calm[r.IntN(len(calm))]; odds(2) && e.soft > e.begin {
			tr.force = []time.Duration{e.soft, e.hard}[r.IntN(2)]
		} else if tr.force = e.end; !e.calm {
			tr.force++
		}
	}
	return tr
}

func (tr *trial) run(t *testing.T) {
	for _, lives := range tr.lives {
		for _, l := range lives {
			l.freed = make(chan struct{})
		}
	}
	tr.begin = time.Now()
	tr.plan.Logger = slog.New(&tr.log)
	var at time.Time
	if tr.ago >= 0 {
		at = tr.begin.Add(-tr.ago)
	}
	ctx, force := asked(at)
	defer force()
	if tr.before {
		force()
	} else if tr.force >= 0 {
		time.AfterFunc(tr.force, force)
	}
	if tr.outer > 0 {
		ctx = context.WithValue(ctx, carried.UntilKey, tr.begin.Add(tr.outer))
	}
	tr.report, tr.err = tr.plan.Run(ctx)
	if took := time.Since(tr.begin); tr.report.Took != took || !tr.report.Began.Equal(tr.begin) {
		t.Errorf("Run took %v from %v; the report says %v from %v", took, tr.begin, tr.report.Took, tr.report.Began)
	}
	time.Sleep(10*tr.budget + time.Hour) // what was abandoned ends
	synctest.Wait()
}
