package lifecycle

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/logs"
)

var discard = slog.New(slog.DiscardHandler)

// logTo sets the loggers, as [Group.Logger] says. The main group is the one whose Run
// gets the context of WithFlag or WithSignals itself.
func (t *tasks) logTo(ctx context.Context, log *slog.Logger) {
	t.log = discard
	if log != nil {
		t.queue = new(logs.Queue)
		t.log = t.queue.Logger(log)
		t.loud = t.log
	} else if _, main := ctx.(*flagged); main && ctx.Value(groupKey{}) == nil {
		t.queue = new(logs.Queue)
		t.loud = t.queue.Logger(logs.Loud(nil))
	}
}

// logFailure logs err if there is a Logger. No caller receives a late err, so it is
// logged without one too. The line has the stacks of panics that were not logged.
func (t *tasks) logFailure(ctx context.Context, late bool, name string, err error) {
	log := t.log
	if late && log == discard {
		log = new(logs.Queue).Logger(logs.Loud(nil))
	}
	if log == discard {
		return
	}
	attrs := []any{"task", name, "error", err}
	if stack := unlogged(err); stack != "" {
		attrs = append(attrs, "stack", stack)
	}
	log.ErrorContext(ctx, "task failed", attrs...)
}

// flush waits until the lines are written, or until the drain's deadline. Without a
// drain it is the one that a drain would have.
func (g *Group) flush(ctx context.Context) {
	var until time.Time
	if g.report != nil {
		until = g.report.Deadline
	}
	if until.IsZero() {
		began := cmp.Or(carried.StopOf(ctx).Asked(), time.Now())
		until = began.Add(cmp.Or(g.Drain.Budget, drain.DefaultBudget))
	}
	g.tasks.queue.Flush(until)
}
