package drain

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/panics"
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
		w.kill()
	} else {
		w.stop()
	}
	timeUp, force := ctx.Done(), r.force
	for over := w.quiet(); !over; {
		if r.forced {
			force = nil
		}
		select {
		case <-w.wake:
			if ctx.Err() != nil { // Stops that obey their context may be seen before timeUp is
				w.kill()
			}
			over = w.quiet()
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
			w.kill()
		case <-look.C:
			w.stacks = r.look(owner)
		case <-hard.C:
			w.kill()
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

// A work is the steps of a phase under way.
type work struct {
	*run
	phase string
	ctx   context.Context // of the Stops
	owner string          // the label of the steps' goroutines
	start time.Time
	wake  chan struct{} // has room for one: running fell to 0

	stacks *stacks // of what still runs; nil until they are looked for

	mu      sync.Mutex
	steps   []step
	running int  // calls that have not returned
	over    bool // what returns now is too late
}

// A step is a [Step] and what became of it.
type step struct {
	*Step
	stopped, killed call
	late            bool // Stop returned after its time
	took            time.Duration

	// Once the phase is over; guarded by work.mu.
	left int   // the calls that were abandoned and have not returned
	err  error // of those that have
}

func (s *step) active() bool { return s.stopped.running || s.killed.running }

// killable reports whether Kill is due once Stop's time is over. It is also due if
// Stop gave up then, as http.Server.Shutdown does: that has not done its work.
func (s *step) killable() bool {
	return s.Kill != nil && !s.killed.began && (s.stopped.running || !s.stopped.began || s.late && s.stopped.err != nil)
}

// A call is one of a step's functions.
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

func (w *work) quiet() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running == 0
}

func (w *work) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.steps {
		s := &w.steps[i]
		w.beginLocked(s, &s.stopped)
	}
}

// kill forces the steps that are not done.
func (w *work) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.steps {
		if s := &w.steps[i]; s.killable() {
			w.beginLocked(s, &s.killed)
		}
	}
}

// beginLocked makes a call, in a goroutine. The phase owns it and waits for it.
// Once the phase is over the goroutine is abandoned, and logs a line at its end.
func (w *work) beginLocked(s *step, c *call) {
	c.began, c.running = true, true
	w.running++
	go w.call(s, c)
}

func (w *work) call(s *step, c *call) {
	f := s.Stop
	if c == &s.killed {
		f = func(context.Context) error { s.Kill(); return nil }
	}
	ctx := labels.With(w.ctx, w.owner, s.Name)
	labels.Set(ctx)
	panics.Call(ctx, w.panics, s.Name, f, func(err error) {
		if took := time.Since(w.start); w.note(s, c, err, took) {
			w.logLate(s, took)
		}
	})
}

// logLate is a function of its own for its large frame: most steps do without it,
// and a goroutine's first stack is small.
//
//go:noinline
func (w *work) logLate(s *step, took time.Duration) {
	w.mu.Lock()
	err := s.err
	w.mu.Unlock()
	attrs := []any{"phase", w.phase, "step", s.Name, "took", logs.Seconds(took), "error", err}
	var p *panics.Error
	if errors.As(err, &p) {
		attrs = append(attrs, "stack", string(p.Stack))
	}
	w.loud.WarnContext(w.ctx, "abandoned step returned", attrs...)
}

// note takes the return of a call, and wakes the phase at the last one. It reports
// whether that was the last call of an abandoned step.
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
	if !s.active() && !s.killable() {
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

// close ends the phase. From then on only left and err of its steps change.
func (w *work) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	for i := range w.steps {
		s := &w.steps[i]
		for _, c := range [...]*call{&s.stopped, &s.killed} {
			if c.running {
				s.left++
			}
		}
	}
}

// results ends the phase, says what became of each step, and logs it. The stacks of
// the abandoned ones follow.
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
