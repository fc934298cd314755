package drain

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// A work is the calls of one phase, and what became of them.
type work struct {
	*run
	phase string
	ctx   context.Context // of the Stops: ends with their time
	owner string          // the label of the steps' goroutines
	start time.Time
	wake  chan struct{} // one value: running has fallen to 0

	stacks *stacks // of what still runs; nil before look

	mu      sync.Mutex
	steps   []step
	running int  // the calls that have not returned
	over    bool // the phase is over: what returns now is late
}

// A step is a [Step] and what became of it.
type step struct {
	*Step
	stop, kill call
	late       bool // Stop returned after its time
	took       time.Duration

	// Used once the phase is over, under work.mu.
	left int   // how many abandoned calls have not returned
	err  error // joined, of the abandoned calls that have
}

func (s *step) active() bool { return s.stop.running || s.kill.running }

// killDue reports whether Kill is due once Stop's time is over. It also is if Stop
// returned an error then, as http.Server.Shutdown does: its work is not done.
func (s *step) killDue() bool {
	return s.Kill != nil && !s.kill.began && (s.stop.running || !s.stop.began || s.late && s.stop.err != nil)
}

// A call is the call of Stop or Kill.
type call struct {
	began, running bool
	err            error
}

func newWork(r *run, p Phase, start time.Time, owner string, ctx context.Context) *work {
	w := &work{run: r, phase: p.Name, ctx: ctx, owner: owner, start: start, steps: make([]step, len(p.Steps)), wake: make(chan struct{}, 1)}
	for i := range p.Steps {
		w.steps[i].Step = &p.Steps[i]
	}
	return w
}

func (w *work) allReturned() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running == 0
}

func (w *work) callStops() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.steps {
		s := &w.steps[i]
		w.beginLocked(s, &s.stop)
	}
}

// callKills calls Kill of the steps that are not done.
func (w *work) callKills() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.steps {
		if s := &w.steps[i]; s.killDue() {
			w.beginLocked(s, &s.kill)
		}
	}
}

// beginLocked makes a call in a goroutine. The phase waits for it. If the phase ends
// first, the goroutine is abandoned, and logs a line when the call returns.
func (w *work) beginLocked(s *step, c *call) {
	c.began, c.running = true, true
	w.running++
	go w.call(s, c)
}

func (w *work) call(s *step, c *call) {
	f := s.Stop
	if c == &s.kill {
		f = func(context.Context) error { s.Kill(); return nil }
	}
	ctx := labels.With(w.ctx, w.owner, s.Name)
	labels.Set(ctx)
	panics.Call[PanicError](ctx, w.panics, s.Name, f, func(err error) {
		if took := time.Since(w.start); w.note(s, c, err, took) {
			w.logLate(s, took)
		}
	})
}

// logLate has a large frame. It is not part of the caller, because most steps do not
// need it, and a new goroutine's stack is small.
//
//go:noinline
func (w *work) logLate(s *step, took time.Duration) {
	w.mu.Lock()
	err := s.err
	w.mu.Unlock()
	attrs := []any{"phase", w.phase, "step", s.Name, "took", logs.Seconds(took), "error", err}
	var p *PanicError
	if errors.As(err, &p) {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	w.loud.WarnContext(w.ctx, "abandoned step returned", attrs...)
}

// note records that a call returned, and wakes the phase if no other is running. It
// reports whether this was the last call of an abandoned step.
func (w *work) note(s *step, c *call, err error, took time.Duration) (late bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		s.left--
		s.err = errors.Join(s.err, err)
		return s.left == 0
	}
	c.running, c.err = false, err
	s.late, s.took = w.ctx.Err() != nil, took
	if !s.active() && !s.killDue() {
		w.progress.steps.Add(-1)
	}
	if w.running--; w.running == 0 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return false
}

// close ends the phase. After it, only left and err of a step change, so the rest may
// be read without the lock.
func (w *work) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	for i := range w.steps {
		s := &w.steps[i]
		for _, c := range [...]*call{&s.stop, &s.kill} {
			if c.running {
				s.left++
			}
		}
	}
}

// outcome returns how the step ended. cause is why the time of the Stops ended.
func (s *step) outcome(cause error) (Outcome, error) {
	switch {
	case s.kill.running && s.stop.err != nil && s.stop.err != cause:
		return Abandoned, s.stop.err // which may name what still runs
	case s.active():
		return Abandoned, cmp.Or(s.kill.err, errAbandoned)
	case s.stop.panicked() && s.kill.err != nil:
		return Panicked, errors.Join(s.stop.err, s.kill.err)
	case s.stop.panicked():
		return Panicked, s.stop.err
	case s.kill.panicked():
		return Panicked, s.kill.err
	case s.kill.err != nil:
		return Failed, s.kill.err
	case !s.stop.began:
		return Skipped, cause
	case s.kill.began && s.stop.err == nil:
		return Killed, cause
	case s.kill.began:
		return Killed, s.stop.err
	case s.stop.err == nil:
		return OK, nil
	case s.late:
		return TimedOut, s.stop.err
	default:
		return Failed, s.stop.err
	}
}

// panicked reports whether the call itself panicked. An error that wraps another
// panic does not count, such as the error of a plan inside the step.
func (c call) panicked() bool {
	_, ok := c.err.(*PanicError)
	return ok
}

var errAbandoned = errors.New("still running at the end of its phase")

// results ends the phase, and appends and logs the result of each step. The stacks of
// abandoned steps follow later.
func (w *work) results(results []Result) []Result {
	w.close()
	cause := context.Cause(w.ctx)
	if w.running > 0 && w.stacks == nil {
		w.stacks = w.look(w.owner)
	}
	for i := range w.steps {
		s := &w.steps[i]
		r := Result{Phase: w.phase, Step: s.Name, Took: s.took}
		var a abandoned
		if r.Outcome, r.Err = s.outcome(cause); r.Outcome == Abandoned {
			r.Took = time.Since(w.start)
			a = abandoned{w.stacks, len(results), s.Name, w.deadline}
			w.abandoned = append(w.abandoned, a)
		}
		w.logResult(&r, a)
		results = append(results, r)
	}
	return results
}

func (r *run) logResult(res *Result, a abandoned) {
	level := slog.LevelInfo
	if res.Err != nil {
		level = slog.LevelWarn
	}
	if !r.log.Enabled(r.ctx, level) {
		return
	}
	attrs := []any{"phase", res.Phase, "step", res.Step, "outcome", res.Outcome, "took", logs.Seconds(res.Took)}
	if res.Err != nil {
		attrs = append(attrs, "error", res.Err)
	}
	if a.stacks != nil {
		attrs = append(attrs, "stack", a)
	}
	r.log.Log(r.ctx, level, "step ended", attrs...)
}
