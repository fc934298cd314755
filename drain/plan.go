package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// DefaultBudget is the budget of a [Plan] that sets none. It fits the 30 seconds
// that Kubernetes gives a pod by default.
const DefaultBudget = 25 * time.Second

// A Plan is an ordered list of phases under one budget. It is data: it may be
// copied, and holds nothing of its runs.
//
// The zero Plan does nothing.
type Plan struct {
	// Phases run in order. Each begins when the one before is over.
	Phases []Phase

	// Budget bounds the phases together. Choose it so that
	//
	//	preStop + Budget + 2 s ≤ the grace period of the platform
	//
	// where preStop is how long a hook of the platform delays its signal, and the
	// 2 s are for the end of the process. The grace period is the time between
	// that signal and SIGKILL. By default it is:
	//
	//	Kubernetes   30 s  terminationGracePeriodSeconds; counts from before preStop
	//	docker stop  10 s  --timeout; stop_grace_period in compose
	//	systemd      90 s  TimeoutStopSec=
	//	Amazon ECS   30 s  stopTimeout
	//	Cloud Run    10 s  fixed
	//	Heroku       30 s  fixed
	//
	// Under docker stop and on Cloud Run, for example, Budget is 8 s at most.
	//
	// Budget counts from the signal if ctx is a lifecycle.WithSignals context,
	// else from Run's begin. The settle time of a [Server] is a part of it. A Run
	// that begins late still gives each phase its Reserve. 0 means
	// [DefaultBudget].
	Budget time.Duration

	// Progress is called with how much is left, and with the time at which the
	// plan will be over at the latest: once a second, at every change of phase,
	// and at the end. What is left is the steps that have not ended, and the work
	// that those wait for in a [Gate], a [Server] or a lifecycle.Group. One
	// goroutine calls it. If it blocks, the drain goes on without it, but Run
	// waits for its last call, until the deadline. If it panics, it is not called
	// again. Nil: no calls.
	Progress func(left int, deadline time.Time)

	// Logger gets a line at the plan's begin and end, for each phase and for each
	// step. A goroutine beside the drain writes them, so a handler that blocks or
	// panics delays no step. Run waits until the lines are written, until the
	// deadline. Nil: only what no caller receives is logged, to slog.Default: an
	// abandoned step that returns late, a stack that is missing, and a panic of
	// Progress.
	Logger *slog.Logger
}

// Validate returns an error for a plan that cannot keep its promises. It names
// the phase and the field, and says what to do.
func (p Plan) Validate() error {
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

// Run runs the phases in order, the steps of a phase side by side. It returns what
// became of each step, and the errors of those that did not end well, as
// [*StepError] joined in phase order. An error or a panic never stops the rest.
// A plan that is not valid runs nothing.
//
// Each call is a run of its own, and calls every Stop again.
//
// Run takes from ctx its values, its cause, and the signals of a
// lifecycle.WithSignals context. It ignores the end of ctx: a context that says
// stop does not bound the drain. A second signal forces: the contexts of running
// Stops end, and Kill is called. A phase that has not begun gets its Reserve; if
// it has none, only its Kills are called.
//
// A phase i that starts at s is over at min(s + Timeout, D − the reserves after
// it), where D is the signal's time plus Budget. So unspent time flows on, and a
// stuck phase does not take the time of the next ones. Run does not wait for a
// step that ignores its context: at the end of its phase the step is abandoned,
// and reported with its stack. Logs and stacks are gathered beside the phases; Run
// waits for them until D, and goes without them after that.
//
// If Run is called in a step of another plan, or in a task of a lifecycle.Group
// that drains, then D is at most the end of that step's Stop, less a tenth of the
// time until then or 100 ms, whichever is less. So the inner plan names what
// ignores its context, before the outer plan would blame the step. For example,
// with two budgets of 25 s the outer step's Stop has 24 s, and the inner plan
// 23.9 s.
func (p Plan) Run(ctx context.Context) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, err
	}
	stop, begin := wire.StopOf(ctx), time.Now()
	r := &run{
		clock: clock{phases: p.Phases, deadline: p.deadline(stop.Asked(), begin, wire.Until(ctx))},
		force: stop.Force.Done(),
	}
	r.log, r.loud = r.queue.Logger(logs.Quiet(p.Logger)), r.queue.Logger(logs.Loud(p.Logger))
	if p.Logger != nil {
		r.panics = r.log
	}
	r.log.InfoContext(ctx, "drain began", "cause", context.Cause(ctx), "budget", logs.Seconds(p.budget()), "deadline", r.deadline)
	rep := Report{Began: begin, Deadline: r.deadline, Results: make([]Result, 0, steps(p.Phases))}
	r.ctx = context.WithValue(context.WithoutCancel(ctx), wire.CountsKey, &r.progress)
	changed, ended := r.reportProgress(p.Progress)
	for i := range p.Phases {
		r.progress.next(p.Phases[i:])
		changed()
		rep.Results = r.phase(i, rep.Results)
	}
	r.progress.next(nil)
	rep.Forced = r.forced
	rep.Took = time.Since(begin) // without what is still gathered
	var errs []error
	for i := range rep.Results {
		if res := &rep.Results[i]; res.Err != nil {
			errs = append(errs, &StepError{res.Phase, res.Step, res.Outcome, res.Err})
		}
	}
	r.log.InfoContext(ctx, "drain ended", "took", logs.Seconds(rep.Took), "failed", len(errs), "forced", rep.Forced)
	r.addStacks(rep.Results)
	ended()
	r.queue.Flush(r.deadline)
	return rep, errors.Join(errs...)
}
