package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/count"
	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// tasks is the set of goroutines of a running group, and the context they share:
// Run's context without its cancellation. close cancels it.
type tasks struct {
	context.Context
	cancel context.CancelCauseFunc
	owner  string
	queue  logs.Queue   // keeps a handler that blocks or panics out of the way
	log    *slog.Logger // the group's Logger, by way of queue; without one, discard
	loud   *slog.Logger // log; without a Logger slog.Default in main's group, else nil

	slots    chan struct{} // a token for each live task; nil without a Limit
	stopping chan struct{} // closed when the stop begins; nil without a Limit

	within count.Count   // the live tasks, and before the launch Run itself
	wake   chan struct{} // has room for one: the last task has left, or the stop began

	gaveUp atomic.Bool               // a Step has waited for as long as it could
	until  atomic.Pointer[time.Time] // when the Step stops waiting; nil before it began

	names atomic.Pointer[named] // the latest first

	cause atomic.Pointer[error] // of the stop; nil before

	mu       sync.Mutex
	idle     chan struct{} // made by close, or nil if no task was live then; closed when the last one has left
	failures []error
	search   *search         // for the tasks that do not end
	returned bool            // Run has: a failure is too late for it
	soft     context.Context // made when Stopping first asks for it
	tell     context.CancelCauseFunc
}

func (t *tasks) init(ctx context.Context, limit int) {
	t.mu.Lock() // a Step of another plan may stop what has not begun
	defer t.mu.Unlock()
	t.Context, t.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	t.owner = labels.Path(ctx)
	t.wake = make(chan struct{}, 1)
	if limit > 0 {
		t.slots, t.stopping = make(chan struct{}, limit), make(chan struct{})
	}
	t.within.TryEnter() // Run's own, until launched: so the first tasks' end is not taken for that of all
}

// groupKey is the key of the tasks that a context belongs to.
type groupKey struct{}

func (t *tasks) Value(key any) any {
	switch key {
	case wire.SoftKey, groupKey{}:
		return t
	case wire.UntilKey:
		if until := t.until.Load(); until != nil {
			return *until
		}
	}
	return t.Context.Value(key)
}

// Soft implements [wire.Soft]. Inside a task of another group, it ends with that
// group's too: who waits for that one's stop wants to be told through both.
func (t *tasks) Soft() (soft, owner context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.soft == nil {
		var outer context.Context = t
		if s, ok := t.Context.Value(wire.SoftKey).(wire.Soft); ok {
			outer, _ = s.Soft()
		}
		t.soft, t.tell = context.WithCancelCause(outer)
		if why := t.stopCause(); why != nil {
			t.tell(why)
		}
	}
	return t.soft, t
}

// start starts a task. If there is no slot, it calls waits, if that is not nil,
// and waits for one, until the stop begins or until is closed.
func (t *tasks) start(k task, until <-chan struct{}, waits func()) error {
	if t.slots != nil && !t.acquire(until, waits) {
		return ErrStopped
	}
	if !t.within.TryEnter() {
		t.release()
		return ErrStopped
	}
	go t.run(t.named(k.name), k.f)
	return nil
}

// run is a task's goroutine. What waits for within waits for it. The
// name's count is raised here and not in start: there, where each task's name is
// read, it made Group and Go slower by 5 %, and here by nothing that can be measured.
func (t *tasks) run(ctx *named, f func(context.Context) error) {
	ctx.live.Add(1)
	labels.Set(ctx)
	labels.Call(ctx, t.loud, ctx.name, f, func(err error) { t.ended(ctx, err) })
}

// acquire reports whether it got a slot.
func (t *tasks) acquire(until <-chan struct{}, waits func()) bool {
	select {
	case t.slots <- struct{}{}:
		return true
	default:
	}
	if waits != nil {
		waits()
	}
	select {
	case t.slots <- struct{}{}:
		return true
	case <-t.stopping:
	case <-until:
	}
	return false
}

func (t *tasks) release() {
	if t.slots != nil {
		<-t.slots
	}
}

// ended counts a task out.
func (t *tasks) ended(ctx *named, err error) {
	if err != nil {
		t.failed(ctx.name, err)
	}
	ctx.live.Add(-1)
	t.release()
	t.leave()
}

// failed begins the stop, unless err only says that it has begun. If Run has
// returned, so that no caller receives err, it is logged even without a Logger.
func (t *tasks) failed(name string, err error) {
	if why := t.stopCause(); why != nil && obeyed(err, why) {
		return
	}
	err = fmt.Errorf("lifecycle: task %s: %w", name, err)
	t.mu.Lock()
	late := t.returned
	if !late {
		t.failures = append(t.failures, err)
	}
	t.mu.Unlock()
	t.stop(err)
	wake(t.wake)
	t.logFailure(t, late, name, err)
}

// leave counts a task out, or Run's own hold.
func (t *tasks) leave() {
	n, closed := t.within.Leave()
	switch {
	case n > 0:
	case closed:
		close(t.idle)
	default:
		wake(t.wake)
	}
}

// wait returns at the stop, with its cause.
func (t *tasks) wait(ctx context.Context) error {
	for {
		if why := t.stopCause(); why != nil {
			return why
		}
		if t.quiet() && t.names.Load() != nil { // there were tasks
			return t.stop(errAllEnded)
		}
		select {
		case <-ctx.Done():
			return t.stop(context.Cause(ctx))
		case <-t.wake:
		}
	}
}

func (t *tasks) live() int {
	n, _ := t.within.Within()
	return n
}

func (t *tasks) quiet() bool { return t.live() == 0 }
