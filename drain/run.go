package drain

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/logs"
)

// A run is one call of Plan.Run.
type run struct {
	clock
	progress progress
	ctx      context.Context // of the steps: Run's values, without its end
	force    context.Context // ends when the plan is forced
	forced   bool            // the plan has seen the force

	queue  logs.Queue
	log    *slog.Logger // for the progress lines; never nil
	loud   *slog.Logger // for what no caller receives; never nil
	panics *slog.Logger // for panics of steps, which the caller also receives as errors; nil without a Logger

	profile   sync.Mutex // held while a goroutine profile is taken: one at a time
	abandoned []abandoned
}

// phase runs phase i and appends the results of its steps:
//
//	calls the Stops, side by side
//	at the end of their time, or if forced, calls Kill of the steps that are not done
//	halfway through Kill's time, begins to look for the stacks of what still runs
//	ends when all calls have returned, or at the end of the phase's time
//	abandons the steps that still run
func (r *run) phase(i int, results []Result) []Result {
	r.forced = r.forced || r.force.Err() != nil
	p, start := r.phases[i], time.Now()
	whole, last := r.span(i, start, r.forced)
	killOnly := whole <= last // forced or late, and without a reserve
	end := start.Add(whole)
	hard := time.NewTimer(whole)
	defer hard.Stop()
	look := time.NewTimer(whole - last/2)
	defer look.Stop()
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	ctx, release := context.WithDeadlineCause(ctx, end.Add(-last), &phaseEnd{p.Name, killOnly && r.forced})
	defer release()
	ctx = context.WithValue(ctx, carried.UntilKey, end.Add(-last))
	owner := labels.Path(ctx)
	r.log.InfoContext(ctx, "phase began", "phase", p.Name, "until", end, "forced", r.forced)

	w := newWork(r, p, start, owner, ctx)
	if killOnly {
		w.callKills()
	} else {
		w.callStops()
	}
	timeUp, force := ctx.Done(), r.force.Done()
	for over := w.allReturned(); !over; {
		if r.forced {
			force = nil
		}
		select {
		case <-w.wake:
			if ctx.Err() != nil { // Stops that obey their context may return before select sees timeUp
				w.callKills()
			}
			over = w.allReturned()
		case <-force:
			r.forced = true
			r.log.WarnContext(ctx, "drain forced", "phase", p.Name)
			cancel(&phaseEnd{p.Name, true})
			if last < time.Until(end) {
				hard.Reset(last)
				look.Reset(last / 2)
			}
		case <-timeUp:
			timeUp = nil
			w.callKills()
		case <-look.C:
			w.stacks = r.look(owner)
		case <-hard.C:
			w.callKills()
			over = true
		}
	}
	return w.results(results)
}

// A phaseEnd is the cause with which the context of the Stops ends.
type phaseEnd struct {
	phase  string
	forced bool
}

func (e *phaseEnd) Error() string {
	if e.forced {
		return "forced in phase " + e.phase
	}
	return "out of time in phase " + e.phase
}

func (e *phaseEnd) Is(target error) bool {
	if e.forced {
		return target == context.Canceled
	}
	return target == context.DeadlineExceeded
}
