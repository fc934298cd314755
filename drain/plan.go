package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/logs"
)

// DefaultBudget is the budget of a [Plan] that sets none. It fits the grace period of
// 30 seconds that Kubernetes gives a pod by default.
const DefaultBudget = 25 * time.Second

// A Plan stops a service: it runs phases in order, under one budget. It is data:
// it may be copied, and keeps nothing of its runs. The zero Plan does nothing.
//
// # Times
//
// The plan is over at D, which is the time of the signal plus Budget. A phase ends
// when all its steps have returned. Its limit is
//
//	min(begin + Timeout, D − the reserves of later phases)
//
// So a phase leaves its unspent time to the later ones, and a stuck phase cannot
// take what they reserve. A phase without a Timeout gets an equal share: the time
// until D − the reserves of later phases, divided by the number of phases without a
// Timeout. That counts this phase and later ones, with a Reserve or not. The phase
// gets its Reserve if that is more.
//
// Kill has the last tenth of a phase's time, 1 s at most. The contexts of the Stops
// end when it begins.
//
// A second signal forces the plan:
//   - The phase under way calls Kill now, and ends after the time that Kill has.
//   - A later phase with a Reserve gets that time, for Stop and Kill.
//   - A later phase without a Reserve only calls Kill. Its time is a tenth of what
//     the reserves of later phases leave, but 1 s and its Timeout at most.
//
// An example with a Budget of 25 s: requests has a Timeout of 15 s, jobs a Reserve of
// 3 s, tasks and db 1 s each. The signal comes at 0 s. A quick step takes 0.5 s. A
// stuck one never returns. The plan is forced at 3 s, with all steps stuck.
//
//	                 all quick  requests stuck  all stuck  forced
//	Kill of requests         -            14 s       14 s     3 s
//	requests over        0.5 s            15 s       15 s     4 s
//	jobs over              1 s          15.5 s       18 s     7 s
//	tasks over           1.5 s            16 s       21 s     8 s
//	db over                2 s          16.5 s       25 s     9 s
//
// Two rules change D:
//   - If Run begins late, each phase still gets its
//     Reserve: D is at least Run's begin plus all reserves plus a tenth of Budget
//     (1 s at most), but never more than Run's begin plus Budget.
//   - If Run is called in a step of another plan, or in a task of a lifecycle.Group
//     that drains, the inner plan ends before the outer step's Stop does: by a tenth
//     of the time until then, 100 ms at most. So the inner plan names what is
//     stuck, before the outer plan blames the step. With two budgets of 25 s the
//     outer Stop has 24 s, and the inner plan 23.9 s.
type Plan struct {
	// Phases run in order. Each begins when the one before is over.
	Phases []Phase

	// Budget bounds all phases together. 0 means [DefaultBudget]. It counts from the
	// signal if ctx comes from lifecycle.WithSignals, else from the call of Run. The
	// settling of a [Server] is a part of it. Choose Budget so that
	//
	//	preStop + Budget + 2 s ≤ the grace period of the platform
	//
	// preStop is the time for which a hook of the platform delays the signal. The 2 s
	// are for the end of the process. The grace period is the time from the signal to
	// SIGKILL. Its default is:
	//
	//	Kubernetes   30 s  terminationGracePeriodSeconds; counts from before preStop
	//	docker stop  10 s  --timeout; stop_grace_period in compose
	//	systemd      90 s  TimeoutStopSec=
	//	Amazon ECS   30 s  stopTimeout
	//	Cloud Run    10 s  fixed
	//	Heroku       30 s  fixed
	//
	// Under docker stop and on Cloud Run, for example, Budget is 8 s at most.
	Budget time.Duration

	// Progress, if not nil, is called once a second, at every change of phase and at
	// the end. left counts the steps that have not ended, and the work that they wait
	// for in a [Gate], a [Server] or a lifecycle.Group. deadline is when the plan is
	// over at the latest.
	//
	// One goroutine makes all calls. If a call blocks, the phases go on, and Run waits
	// for it at the end, until deadline. After a panic there are no more calls.
	Progress func(left int, deadline time.Time)

	// Logger gets a line for the plan's begin and end, for each phase and for each
	// step. A goroutine beside the phases writes them, so a handler that blocks or
	// panics delays no step. Run waits until all lines are written, but not longer
	// than the plan may take.
	//
	// If Logger is nil, only what no caller receives is logged, to slog.Default: an
	// abandoned step that returns late, a missing stack, a panic of Progress.
	Logger *slog.Logger
}

// Validate returns an error if the plan cannot keep its promises. The error names
// the phase and the field, and says what to change.
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
		if ph.Reserve > p.budget()-reserves { // the sum may be longer than a Duration
			return bad("Reserve", "%v and the %v of earlier phases are over the Budget, %v; raise it or lower them", ph.Reserve, reserves, p.budget())
		}
		reserves += ph.Reserve
	}
	return nil
}

// Run runs the phases in order, and the steps of a phase side by side. It returns
// what became of each step. The error joins, in phase order, a [*StepError] for each
// step that did not end well. An error or a panic of a step never stops the others.
// A plan that is not valid runs no step.
//
// Run may be called more than once. Each call calls every Stop again.
//
// Run takes from ctx its values, its cause, and the signals of
// lifecycle.WithSignals. The end of ctx does not bound the plan, since ctx usually
// ended to begin it. [Plan] says when each phase ends, and what a second signal
// does.
//
// Run does not wait for a step that ignores its context. When the phase is over, the
// step is abandoned, and its Result has its stack. Logs and stacks are gathered
// beside the phases. Run waits for them at the end, until [Report.Deadline].
func (p Plan) Run(ctx context.Context) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, err
	}
	stop, begin := carried.StopOf(ctx), time.Now()
	r := &run{
		clock: clock{phases: p.Phases, deadline: p.deadline(stop.Asked(), begin, carried.Until(ctx))},
		force: stop.Force,
	}
	r.log, r.loud = r.queue.Logger(logs.Quiet(p.Logger)), r.queue.Logger(logs.Loud(p.Logger))
	if p.Logger != nil {
		r.panics = r.log
	}
	r.log.InfoContext(ctx, "drain began", "cause", context.Cause(ctx), "budget", logs.Seconds(p.budget()), "deadline", r.deadline)
	rep := Report{Began: begin, Deadline: r.deadline, Results: make([]Result, 0, steps(p.Phases))}
	r.ctx = context.WithValue(context.WithoutCancel(ctx), carried.CountsKey, &r.progress)
	changed, ended := r.reportProgress(p.Progress)
	for i := range p.Phases {
		r.progress.next(p.Phases[i:])
		changed()
		rep.Results = r.phase(i, rep.Results)
	}
	r.progress.next(nil)
	rep.Forced = r.forced
	rep.Took = time.Since(begin) // without the wait for stacks and logs
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
