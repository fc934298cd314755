package lifecycle

import (
	"cmp"
	"context"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// start runs Start. If Start ignores the end of its context, start gives up on it
// after the Budget or at a second stop.
func (g *Group) start(ctx context.Context) error {
	owner := labels.Path(ctx)
	labelled := labels.With(g.starting(ctx), owner, "start")
	done, over := make(chan error), make(chan struct{})
	defer close(over)
	go func() {
		labels.Set(labelled)
		panics.Call[PanicError](labelled, g.tasks.loud, "start", g.Start, func(err error) {
			select {
			case done <- err:
			case <-over:
				if err != nil && !obeyed(err, context.Cause(ctx)) {
					g.tasks.logFailure(ctx, true, "start", err)
				}
			}
		})
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop := carried.StopOf(ctx)
	patience := time.NewTimer(cmp.Or(g.Drain.Budget, drain.DefaultBudget))
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-stop.Force.Done():
	case <-patience.C:
	}
	return look(owner).leaked(1, time.Now().Add(time.Second))
}

// launch starts the queued tasks, unless a stop came first. It notifies when they
// run, or at the Limit when as many run as it allows.
func (g *Group) launch(ctx context.Context) {
	t := &g.tasks
	unstarted := t.loud
	if ctx.Err() != nil { // no task will run, and Run's caller knows why
		t.stop(context.Cause(ctx))
		unstarted = t.log
	}
	g.mu.Lock()
	queue := g.queue
	g.queue, g.state = nil, Running
	g.launched.Store(true)
	g.mu.Unlock()
	told := false
	tell := func() {
		if !told {
			told = true
			g.notify(Status{State: Running})
		}
	}
	for _, q := range queue {
		if ctx.Err() != nil || t.stopCause() != nil || t.start(q, ctx.Done(), tell) != nil {
			if unstarted != nil {
				unstarted.WarnContext(ctx, "task not started", "task", q.name)
			}
		}
	}
	t.leave() // Run's own hold
	tell()
}
