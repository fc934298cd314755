package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// DefaultBudget is the budget of a [Plan] that names none: under the 30 seconds
// that Kubernetes gives a pod by default.
const DefaultBudget = 25 * time.Second

// A Plan is an ordered list of phases under one budget.
//
// The zero Plan does nothing. A Plan must not be copied.
type Plan struct {
	// Phases run in order, each after the one before is over.
	Phases []Phase

	// Budget bounds the phases together, counted from the signal where a
	// lifecycle.WithSignals context brought one, else from Run's begin. It
	// must be less than what the supervisor grants between its signal and its
	// SIGKILL (terminationGracePeriodSeconds, TimeoutStopSec); the settle time
	// of a [Server] and a preStop hook come out of the same clock. 0 means
	// [DefaultBudget]. A Run that begins late still gives each phase its
	// reserve.
	Budget time.Duration

	// Progress is told how much is left, and when the plan will be over at the
	// latest: once a second, at every change of phase, and at the end. What is
	// left is the steps that have not ended, and the work that those wait for in
	// a [Gate], a [Server] or a lifecycle.Group. It is called by one goroutine;
	// where it blocks the drain goes on without it, but Run waits for its last
	// call, until the deadline. Nil: nobody is told.
	Progress func(left int, deadline time.Time)

	// Logger gets a line at the plan's begin and end, for each phase and for
	// each step. Nil means silence.
	Logger *slog.Logger

	mu     sync.Mutex
	done   chan struct{} // made by the first Run, closed at its end
	report Report
	err    error
}

// Validate returns an error for a plan that cannot keep its promises. It names
// the phase and the field, and says what to do.
func (p *Plan) Validate() error {
	var reserves time.Duration
	if p.Budget < 0 {
		return fmt.Errorf("drain: Budget: %v is negative; 0 means %v", p.Budget, DefaultBudget)
	}
	names, steps := make(map[string]bool), make(map[string]bool)
	for i, ph := range p.Phases {
		bad := func(field, format string, args ...any) error {
			return fmt.Errorf("drain: phase %q: %s: %s", ph.Name, field, fmt.Sprintf(format, args...))
		}
		switch {
		case ph.Name == "":
			return fmt.Errorf("drain: phase %d: Name: empty; name what it stops", i+1)
		case names[ph.Name]:
			return bad("Name", "used twice; give each phase its own")
		case ph.Timeout < 0:
			return bad("Timeout", "%v is negative; 0 means an equal share", ph.Timeout)
		case ph.Reserve < 0:
			return bad("Reserve", "%v is negative; 0 means none", ph.Reserve)
		case ph.Timeout > 0 && ph.Timeout < ph.Reserve:
			return bad("Timeout", "%v is under Reserve, %v; raise it or lower the reserve", ph.Timeout, ph.Reserve)
		}
		names[ph.Name] = true
		clear(steps)
		for j, s := range ph.Steps {
			switch {
			case s.Name == "":
				return bad("Steps", "step %d has no Name; name what it stops", j+1)
			case steps[s.Name]:
				return bad("Steps", "%q is used twice; give each step its own name", s.Name)
			case s.Stop == nil:
				return bad("Steps", "%q has a nil Stop; a step needs one", s.Name)
			}
			steps[s.Name] = true
		}
		if reserves += ph.Reserve; reserves > p.budget() {
			return bad("Reserve", "the reserves up to here are %v, over the Budget, %v; raise it or lower them", reserves, p.budget())
		}
	}
	return nil
}

func (p *Plan) budget() time.Duration {
	if p.Budget == 0 {
		return DefaultBudget
	}
	return p.Budget
}

// Run runs the phases in order, the steps of a phase side by side, and returns
// what each step came to and the errors of those that did not end well, as
// [*StepError] joined in phase order. An error or a panic never stops the rest.
//
// From ctx it takes the values, the cause, and the signals of a
// lifecycle.WithSignals context, never the end: a context that says stop does
// not bound the drain. A second signal forces: running Stops have their
// contexts ended and are killed; a phase not begun runs in its Reserve, and
// without one is killed outright.
//
// A phase i that starts at s is over at min(s + Timeout, D − the reserves after
// it), where D is the signal's time plus Budget. So unspent time flows on, and a
// stuck phase starves nobody. Nothing waits for a step that ignores its
// context: at the end of its phase it is abandoned, and reported with its stack.
//
// Run runs once; later and concurrent callers wait for that run's end and get
// the same report. A plan that is not valid runs nothing.
func (p *Plan) Run(ctx context.Context) (Report, error) {
	p.mu.Lock()
	done, first := p.done, p.done == nil
	if first {
		done = make(chan struct{})
		p.done = done
	}
	p.mu.Unlock()
	if !first {
		<-done
		return p.report, p.err
	}
	p.err = labels.ErrGoexit // or a panic of Logger's handler: nobody waits for ever
	defer close(done)
	p.report, p.err = p.run(ctx)
	return p.report, p.err
}

func (p *Plan) run(ctx context.Context) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, err
	}
	stop, begin := wire.StopOf(ctx), time.Now()
	r := &run{
		clock:  clock{phases: p.Phases, deadline: deadline(p, stop.Asked(), begin)},
		force:  stop.Force.Done(),
		log:    cmp.Or(p.Logger, slog.New(slog.DiscardHandler)),
		panics: p.Logger,
	}
	r.log.InfoContext(ctx, "drain began", "cause", context.Cause(ctx), "deadline", r.deadline)
	rep := Report{Began: begin, Deadline: r.deadline, Results: make([]Result, 0, steps(p.Phases))}
	r.ctx = context.WithValue(context.WithoutCancel(ctx), wire.CountsKey, &r.progress)
	changed, ended := r.tell(p.Progress)
	for i := range p.Phases {
		r.progress.next(p.Phases[i:])
		changed()
		rep.Results = r.phase(i, rep.Results)
	}
	r.progress.next(nil)
	rep.Forced = r.forced
	rep.Took = time.Since(begin) // without what Progress holds up
	ended()
	var errs []error
	for i := range rep.Results {
		if res := &rep.Results[i]; res.Err != nil {
			errs = append(errs, &StepError{res.Phase, res.Step, res.Outcome, res.Err})
		}
	}
	r.log.InfoContext(ctx, "drain ended", "took", rep.Took, "failed", len(errs), "forced", rep.Forced)
	return rep, errors.Join(errs...)
}

// deadline returns when the plan is over.
func deadline(p *Plan, asked, begin time.Time) time.Time {
	if asked.IsZero() {
		asked = begin
	}
	d := asked.Add(p.budget())
	// The last second is for the Kills of phases without a reserve.
	late := begin.Add(min(reserved(p.Phases)+lastOf(p.budget()), p.budget()))
	if late.After(d) {
		return late
	}
	return d
}

func steps(phases []Phase) (n int) {
	for i := range phases {
		n += len(phases[i].Steps)
	}
	return n
}

func reserved(phases []Phase) (sum time.Duration) {
	for _, p := range phases {
		sum += p.Reserve
	}
	return sum
}

// A clock divides the time up to a deadline among phases.
type clock struct {
	phases   []Phase
	deadline time.Time
}

// span returns how long phase i may take where it starts at now, and how much
// of that is kept for Kill. A forced phase has its reserve at most, and where it
// has none all its time is for Kill.
func (c clock) span(i int, now time.Time, forced bool) (whole, kill time.Duration) {
	p, left := c.phases[i], c.deadline.Sub(now)-reserved(c.phases[i+1:])
	whole = p.Timeout
	switch {
	case forced && p.Reserve > 0:
		whole = p.Reserve
	case forced:
		if whole = lastOf(left); p.Timeout > 0 {
			whole = min(whole, p.Timeout)
		}
		return whole, whole
	case whole == 0:
		sharers := 0
		for _, q := range c.phases[i:] {
			if q.Timeout == 0 {
				sharers++
			}
		}
		whole = max(left/time.Duration(sharers), p.Reserve)
	}
	whole = max(min(whole, left), 0)
	return whole, lastOf(whole)
}

// lastOf returns the part of a phase's time that is kept for Kill.
func lastOf(whole time.Duration) time.Duration {
	return max(min(whole/10, time.Second), 0)
}
