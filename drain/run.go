package drain

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// A run is one execution of a plan.
type run struct {
	clock
	progress progress
	ctx      context.Context // values, no end
	force    <-chan struct{}
	forced   bool // force was seen closed

	queue  logs.Queue
	log    *slog.Logger // of the progress lines; never nil
	loud   *slog.Logger // of what no caller receives; never nil
	panics *slog.Logger // of the steps, which the caller receives as errors; nil without a Logger

	profile   sync.Mutex // held while a goroutine profile is taken
	abandoned []abandoned
}

// phase runs phase i to its end, and appends what became of its steps to results:
//
//	Stops start, side by side
//	at the end of their time, or when forced, Kill is called for those not done
//	halfway through Kill's time, the stacks of what still runs are looked for
//	when all are done, or at the phase's end, the phase is over
//	a step that still runs is abandoned
func (r *run) phase(i int, results []Result) []Result {
	select {
	case <-r.force:
		r.forced = true
	default:
	}
	p, start := r.phases[i], time.Now()
	whole, last := r.span(i, start, r.forced)
	killOnly := whole <= last // forced without a reserve, or late without one
	end := start.Add(whole)
	hard := time.NewTimer(whole)
	defer hard.Stop()
	look := time.NewTimer(whole - last/2)
	defer look.Stop()
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	ctx, release := context.WithDeadlineCause(ctx, end.Add(-last), &phaseEnd{p.Name, killOnly && r.forced})
	defer release()
	ctx = context.WithValue(ctx, wire.UntilKey, end.Add(-last))
	owner := labels.Path(ctx)
	r.log.InfoContext(ctx, "phase began", "phase", p.Name, "until", end, "forced", r.forced)

	w := newWork(r, p, start, owner, ctx)
	if killOnly {
		w.callKills()
	} else {
		w.callStops()
	}
	timeUp, force := ctx.Done(), r.force
	for over := w.allReturned(); !over; {
		if r.forced {
			force = nil
		}
		select {
		case <-w.wake:
			if ctx.Err() != nil { // Stops that obey their context may be seen before timeUp is
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

// A phaseEnd is the cause with which a Stop's context ends.
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
