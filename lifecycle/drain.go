package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// validate finds before anything runs the errors that the drain would find in its
// plan.
func (g *Group) validate() error {
	if len(g.Drain.Phases) == 0 {
		return g.Drain.Validate()
	}
	return g.plan(g.Drain.Phases, nil).Validate()
}

// drain runs the plan, and then ends the tasks if no phase of the plan did: Step was
// called, but is in none.
func (g *Group) drain(ctx context.Context, why error) (*drain.Report, error) {
	ctx = withStop(ctx, why)
	progress := g.progress(why)
	report, err := g.plan(g.Drain.Phases, progress).Run(ctx)
	if g.tasks.within.ShutEmpty() || g.tasks.gaveUp.Load() {
		return &report, err
	}
	rest, late := g.plan(nil, progress).Run(ctx)
	report.Deadline = rest.Deadline
	report.Took = rest.Began.Add(rest.Took).Sub(report.Began)
	report.Forced = rest.Forced
	report.Results = append(report.Results, rest.Results...)
	return &report, errors.Join(err, late)
}

// withStop returns ctx with the cause and the time of the stop. If a signal has set
// them, they stay. All that follows shares the deadline that they give.
func withStop(ctx context.Context, why error) context.Context {
	if ctx.Err() == nil {
		var end context.CancelCauseFunc
		ctx, end = context.WithCancelCause(ctx)
		end(why)
	}
	stop := carried.StopOf(ctx)
	if !stop.Asked().IsZero() {
		return ctx
	}
	now := time.Now()
	stop.Asked = func() time.Time { return now }
	return context.WithValue(ctx, carried.StopKey, &stop)
}

// plan returns the drain plan with these phases. It appends a phase for the tasks,
// unless Step was called and there are phases which may have it.
func (g *Group) plan(phases []drain.Phase, progress func(int, time.Time)) drain.Plan {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.stepped || len(phases) == 0 {
		name := "tasks"
		if slices.ContainsFunc(phases, func(p drain.Phase) bool { return p.Name == name }) {
			name = "the group's tasks"
		}
		own := drain.Phase{Name: name, Steps: []drain.Step{g.step()}}
		if len(phases) > 0 { // it must not take an equal share from the others
			own.Timeout = max(cmp.Or(g.Drain.Budget, drain.DefaultBudget), 0)
			free := own.Timeout
			for _, p := range phases {
				free -= p.Reserve
			}
			own.Reserve = max(min(time.Second, own.Timeout/10, free), 0)
		}
		phases = append(slices.Clip(phases), own)
	}
	log := g.Drain.Logger
	if log == nil && g.Logger != nil {
		log = g.tasks.log // it writes through the queue
	}
	return drain.Plan{Phases: phases, Budget: g.Drain.Budget, Progress: progress, Logger: log}
}

// Step returns the drain step that ends the tasks. It cancels their contexts with the
// cause of the stop, and waits until all have returned. From then on Go returns
// [ErrStopped].
//
// If another plan runs the Step before the tasks start, no task will start. The Step
// neither ends Start's context nor waits for Start.
func (g *Group) Step() drain.Step {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stepped = true
	return g.step()
}

func (g *Group) step() drain.Step {
	return drain.Step{
		Name: "tasks",
		Stop: func(ctx context.Context) error {
			if g.reached() {
				return g.tasks.end(ctx)
			}
			return nil
		},
		Kill: func() {
			if g.reached() {
				g.tasks.kill()
			}
		},
	}
}

// reached begins the stop, and reports whether the tasks were launched. If they were
// not, they never will be.
func (g *Group) reached() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tasks.stop(errReached)
	return g.launched.Load()
}

// Report returns the report of the drain, and whether a drain has ended. It may be
// called at any time. It returns false before the drain has ended, and if Run never
// drained: Start failed, or ctx had ended before it, or the group's fields were not
// valid. If there was nothing to drain, neither a phase nor a live task, the Report
// is zero.
func (g *Group) Report() (drain.Report, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != stopped || g.report == nil {
		return drain.Report{}, false
	}
	r := *g.report
	r.Results = slices.Clone(r.Results)
	return r, true
}
