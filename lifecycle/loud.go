package lifecycle

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/panics"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

var discard = slog.New(slog.DiscardHandler)

// logTo sets the loggers, as [Group.Logger] says. The main group is the one whose Run
// gets the context of WithFlag or WithSignals itself.
func (t *tasks) logTo(ctx context.Context, log *slog.Logger) {
	if log != nil {
		t.log = t.queue.Logger(log)
		t.loud = t.log
		return
	}
	t.log = discard
	if _, main := ctx.(*flagged); main && ctx.Value(groupKey{}) == nil {
		t.loud = t.queue.Logger(logs.Loud(nil))
	}
}

// logFailure logs err if there is a Logger. No caller receives a late err, so it is
// logged without one too. The line has the stacks of panics that were not logged.
func (t *tasks) logFailure(ctx context.Context, late bool, name string, err error) {
	log := t.log
	if late && log == discard {
		log = t.queue.Logger(logs.Loud(nil))
	}
	if log == discard {
		return
	}
	attrs := []any{"task", name, "error", err}
	if stack := panics.Unlogged(err); stack != "" {
		attrs = append(attrs, "stack", stack)
	}
	log.ErrorContext(ctx, "task failed", attrs...)
}

// flush waits until the lines are written, or until the deadline of a drain whose
// stop began at began. If began is zero, the stop begins now.
func (g *Group) flush(ctx context.Context, began time.Time) {
	asked := wire.StopOf(ctx).Asked()
	switch {
	case !asked.IsZero():
		began = asked
	case began.IsZero():
		began = time.Now()
	}
	g.tasks.queue.Flush(began.Add(cmp.Or(g.Drain.Budget, drain.DefaultBudget)))
}
