package drain

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// A run is one execution of a plan.
type run struct {
	clock
	progress progress
	ctx    context.Context // values, no end
	force  <-chan struct{}
	forced bool         // force was seen closed
	log    *slog.Logger // never nil
	panics *slog.Logger // the plan's own, where nil means standard error
}

// phase runs phase i to its end:
//
//	Stops start, side by side
//	at the end of their time, or when forced, Kill is called for those not done
//	when all are done, or at the phase's end, the phase is over
//	a step that still runs is abandoned, with its stack
func (r *run) phase(i int) []Result {
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
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	ctx, release := context.WithDeadlineCause(ctx, end.Add(-last), &phaseEnd{p.Name, killOnly && r.forced})
	defer release()
	owner := labels.Path(ctx)
	r.log.InfoContext(ctx, "phase began", "phase", p.Name, "until", end, "forced", r.forced)

	w := newWork(r, p, start, owner)
	if killOnly {
		w.kill(ctx)
	} else {
		w.stop(ctx)
	}
	timeUp, force := ctx.Done(), r.force
	for over := false; w.running > 0 && !over; {
		if r.forced {
			force = nil
		}
		select {
		case e := <-w.ended:
			w.take(ctx, e)
			if ctx.Err() != nil { // a Stop that obeys its context may be seen before timeUp is
				w.kill(ctx)
			}
		case <-force:
			r.forced = true
			r.log.WarnContext(ctx, "drain forced", "phase", p.Name)
			cancel(&phaseEnd{p.Name, true})
			if last < time.Until(end) {
				hard.Reset(last)
			}
		case <-timeUp:
			timeUp = nil
			w.kill(ctx)
		case <-hard.C:
			w.kill(ctx)
			over = true
		}
	}
	w.close(ctx)
	return w.results(ctx)
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

// A work is the steps of a phase under way. The phase's goroutine alone
// touches it, but for what mu guards.
type work struct {
	*run
	phase   string
	owner   string // the label of the steps' goroutines
	start   time.Time
	steps   []step
	running int // calls that have not returned

	mu    sync.Mutex
	over  bool        // what returns now is too late; nothing is sent any more
	ended chan ending // has room for every call there can be
}

// A step is a [Step] and what became of it.
type step struct {
	*Step
	stopped, killed call
	late            bool // Stop returned after its time
	took            time.Duration
}

func (s *step) active() bool { return s.stopped.running || s.killed.running }

// A call is one of a step's functions.
type call struct {
	began, running bool
	err            error
}

// An ending is what a call's goroutine says last.
type ending struct {
	step *step
	call *call
	err  error
}

func newWork(r *run, p Phase, start time.Time, owner string) *work {
	w := &work{run: r, phase: p.Name, owner: owner, start: start, steps: make([]step, len(p.Steps)), ended: make(chan ending, 2*len(p.Steps))}
	for i := range p.Steps {
		w.steps[i].Step = &p.Steps[i]
	}
	return w
}

func (w *work) stop(ctx context.Context) {
	for i := range w.steps {
		s := &w.steps[i]
		w.begin(ctx, s, &s.stopped, s.Stop)
	}
}

// kill forces the steps that are not done: a Stop that gave up at the end of its
// time, such as http.Server.Shutdown, has not done its work either.
func (w *work) kill(ctx context.Context) {
	for i := range w.steps {
		if s := &w.steps[i]; s.Kill != nil && !s.killed.began && (s.stopped.running || !s.stopped.began || s.late && s.stopped.err != nil) {
			w.begin(ctx, s, &s.killed, func(context.Context) error { s.Kill(); return nil })
		}
	}
}

// begin calls f in a goroutine. The phase is its owner and waits for it; once
// the phase is over the goroutine is an abandoned one, and says so at its end.
func (w *work) begin(ctx context.Context, s *step, c *call, f func(context.Context) error) {
	if s.stopped.began && !s.active() { // it had ended
		w.progress.steps.Add(1)
	}
	c.began, c.running = true, true
	w.running++
	ctx = labels.With(ctx, w.owner, s.Name)
	go func() {
		labels.Set(ctx)
		labels.Call(ctx, w.panics, "step "+s.Name, f, func(err error) {
			w.mu.Lock()
			over := w.over
			if !over {
				w.ended <- ending{s, c, err}
			}
			w.mu.Unlock()
			if over {
				w.log.WarnContext(ctx, "abandoned step returned", "phase", w.phase, "step", s.Name, "took", time.Since(w.start), "error", err)
			}
		})
	}()
}

func (w *work) take(ctx context.Context, e ending) {
	w.running--
	e.call.running, e.call.err = false, e.err
	if !e.step.active() {
		w.progress.steps.Add(-1)
	}
	e.step.late = ctx.Err() != nil
	e.step.took = time.Since(w.start)
}

// close ends the phase. What returned before is taken, what returns later is
// late: no call is both.
func (w *work) close(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	for len(w.ended) > 0 {
		w.take(ctx, <-w.ended)
	}
}

// results says what became of each step, and logs it.
func (w *work) results(ctx context.Context) []Result {
	var stuck []labels.Found
	if w.running > 0 {
		var err error
		if stuck, err = labels.Below(w.owner); err != nil {
			w.log.ErrorContext(ctx, "stacks missing", "phase", w.phase, "error", err)
		}
	}
	results := make([]Result, len(w.steps))
	for i := range w.steps {
		s, r := &w.steps[i], &results[i]
		*r = Result{Phase: w.phase, Step: s.Name, Took: s.took}
		r.Outcome, r.Err = s.outcome(context.Cause(ctx))
		level, attrs := slog.LevelInfo, []any{"phase", w.phase, "step", s.Name, "outcome", r.Outcome}
		if r.Err != nil {
			level, attrs = slog.LevelWarn, append(attrs, "error", r.Err)
		}
		if r.Outcome == Abandoned {
			r.Took = time.Since(w.start)
			for _, f := range stuck {
				if f.Name == s.Name {
					r.Stack += f.Stack + "\n"
				}
			}
		}
		w.log.Log(ctx, level, "step ended", append(attrs, "took", r.Took)...)
	}
	return results
}
