package lifecycle

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

var discard = slog.New(slog.DiscardHandler)

// logTo sets where the lines go, as [Group.Logger] says. Main's group is the one
// that Run gives a WithSignals context: what it runs ends with the process.
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

// logFailure logs an error, if there is a Logger. A late one no caller receives: it
// is logged in any case, with the stack of a panic that no line has.
func (t *tasks) logFailure(ctx context.Context, late bool, name string, err error) {
	log := t.log
	if late && log == discard {
		log = t.queue.Logger(logs.Loud(nil))
	}
	if log == discard {
		return
	}
	attrs := []any{"task", name, "error", err}
	if stack := labels.Unlogged(err); stack != "" {
		attrs = append(attrs, "stack", stack)
	}
	log.ErrorContext(ctx, "task failed", attrs...)
}

// flush waits until the lines are written, or the drain of a stop that began then
// is over. The zero time is now.
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
