package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// tasks is the set of goroutines of a running group, and the context they share:
// Run's context without its cancellation. close cancels it.
type tasks struct {
	// init, logTo and run set these before any task can start. Nothing changes them later.
	context.Context
	cancel   context.CancelCauseFunc
	ctx      context.Context // Run's
	owner    string          // the label's path
	log      *slog.Logger    // the group's Logger, by way of queue; without one, discard
	loud     *slog.Logger    // log; without a Logger slog.Default in main's group, else nil
	slots    chan struct{}   // a token for each live task; nil without a Limit
	stopping chan struct{}   // closed when the stop begins
	waits    carried.Waits   // gets what a task waits for; nil without a Notify

	queue *logs.Queue           // keeps a handler that blocks or panics out of the way; nil without log and loud
	names atomic.Pointer[named] // the list of names, the latest first; it only grows
	ending
}

func (t *tasks) init(ctx context.Context, limit int) {
	t.mu.Lock() // another plan may run the group's Step before the launch
	defer t.mu.Unlock()
	t.Context, t.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	t.ctx, t.owner = ctx, labels.Path(ctx)
	if limit > 0 {
		t.slots = make(chan struct{}, limit)
	}
	t.stopping = make(chan struct{})
	if t.begun.Load() {
		close(t.stopping)
	}
	t.within.TryEnter() // Run's own hold until the launch is over: the first tasks may end before the last start
}

// groupKey is the key of the tasks that a context belongs to.
type groupKey struct{}

func (t *tasks) Value(key any) any {
	switch key {
	case carried.SoftKey, groupKey{}:
		return t
	case carried.WaitKey:
		if t.waits != nil {
			return t.waits
		}
	case carried.UntilKey:
		if until := t.until.Load(); until != nil {
			return *until
		}
	}
	return t.Context.Value(key)
}

// Soft implements [carried.Soft]. If the group runs inside a task of another group,
// that group's stop ends soft too.
func (t *tasks) Soft() (soft, owner context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.soft == nil {
		var outer context.Context = t
		if s, ok := t.ctx.Value(carried.SoftKey).(carried.Soft); ok {
			outer, _ = s.Soft()
		}
		t.soft, t.tell = context.WithCancelCause(outer)
		if why := t.stopCause(); why != nil {
			t.tell(why)
		}
	}
	return t.soft, t
}

// start starts a task. If no slot is free, it calls waits (unless nil) and then waits
// for a slot, until the stop begins or until is closed.
func (t *tasks) start(k task, until <-chan struct{}, waits func()) error {
	if t.slots != nil && !t.acquire(until, waits) {
		return ErrStopped
	}
	if !t.within.TryEnter() {
		t.release()
		return ErrStopped
	}
	go t.named(k.name).run(k.f)
	return nil
}

// run is a task's goroutine. Whoever waits for within waits for it. It raises the
// name's count; in start, which reads each task's name, that cost 5 % of Group.Go.
func (n *named) run(f func(context.Context) error) {
	n.live.Add(1)
	labels.Set(n)
	panics.Call[PanicError](n, n.tasks.loud, n.name, f, n.ended)
}

// acquire waits for a slot, and reports whether it got one.
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

// ended records the end of a task.
func (n *named) ended(err error) {
	if err != nil {
		n.tasks.failed(n.name, err)
	}
	n.live.Add(-1)
	n.tasks.release()
	n.tasks.leave()
}

// failed records a failure and begins the stop, unless err only says that the stop
// has begun. After Run has returned no caller receives err, so it is logged even
// without a Logger.
func (t *tasks) failed(name string, err error) {
	why := cmp.Or(t.stopCause(), context.Cause(t.ctx)) // the task may have seen the end of Run's context first
	if why == nil {
		soft, _ := t.Soft() // an outer group's stop may have ended it
		why = context.Cause(soft)
	}
	if why != nil && obeyed(err, why) {
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
	t.logFailure(t.ctx, late, name, err)
}

// leave ends one hold on within: a task's, or Run's own. The last begins the stop, if
// there were tasks.
func (t *tasks) leave() {
	n, closed := t.within.Leave()
	switch {
	case n > 0:
	case closed:
		close(t.idle)
	case t.names.Load() != nil:
		t.stop(cmp.Or(context.Cause(t.ctx), errAllEnded)) // as in failed
	}
}

// live is how many tasks run, and during the launch Run's own hold.
func (t *tasks) live() int {
	n, _ := t.within.Within()
	return n
}
