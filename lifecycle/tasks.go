package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
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

// obeyed reports whether err says no more than that a stop was asked for, for
// that cause: each of its branches ends in the cause or in context.Canceled. A
// panic, a leak or what a restart cannot mend is more than that.
func obeyed(err, why error) bool {
	if same(err, why) {
		return true
	}
	switch e := err.(type) {
	case nil, *PanicError, *LeakError, interface{ Permanent() bool }:
		return false
	case interface{ Unwrap() []error }:
		all := e.Unwrap()
		return len(all) > 0 && !slices.ContainsFunc(all, func(err error) bool { return !obeyed(err, why) })
	case interface{ Unwrap() error }:
		return obeyed(e.Unwrap(), why)
	}
	return errors.Is(err, context.Canceled)
}

// same reports whether two errors are one. To compare errors of a type such as
// []error by == would panic.
func same(a, b error) bool {
	if reflect.ValueOf(a).Comparable() {
		return a == b
	}
	return reflect.DeepEqual(a, b)
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

// stop begins the stop, and returns its cause: the first counts.
func (t *tasks) stop(why error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if first := t.stopCause(); first != nil {
		return first
	}
	t.cause.Store(&why)
	if t.stopping != nil {
		close(t.stopping)
	}
	if t.tell != nil {
		t.tell(why)
	}
	return why
}

func (t *tasks) stopCause() error {
	if why := t.cause.Load(); why != nil {
		return *why
	}
	return nil
}

// close takes no more tasks and cancels those that live.
func (t *tasks) close(why error) {
	why = t.stop(why)
	if !t.closeQuiet() {
		t.closeLive()
	}
	t.cancel(why)
}

// closeQuiet closes if no task is live, and reports whether that is so now.
func (t *tasks) closeQuiet() bool { return t.within.ShutEmpty() }

// closeLive closes while tasks are live, unless that was done.
func (t *tasks) closeLive() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, closed := t.within.Within(); closed {
		return
	}
	t.idle = make(chan struct{})
	if t.within.Shut() == 0 { // the last one has left meanwhile
		close(t.idle)
	}
	wake(t.wake)
}

// errReached is the cause if a plan that is not the group's own has its Step.
var errReached = fmt.Errorf("lifecycle: a drain plan reached the tasks: %w", context.Canceled)

// end is the group's Step.
func (t *tasks) end(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok {
		t.until.Store(&d) // before the tasks' own drains begin
	}
	t.close(errReached)
	if t.quiet() {
		return nil
	}
	wire.Count(ctx, t, t.live)
	select {
	case <-t.idle:
		return nil
	case <-ctx.Done():
		t.gaveUp.Store(true)
		return context.Cause(ctx)
	}
}

func (t *tasks) kill() {
	t.close(errReached)
	if t.quiet() {
		return
	}
	t.gaveUp.Store(true)
	t.mu.Lock()
	if t.search == nil { // beside the last moments of the drain
		t.search = look(t.owner)
	}
	t.mu.Unlock()
	<-t.idle // the drain abandons this; then it ends with the last task, and says so
}

// result ends the wait for tasks, and joins what went wrong.
func (t *tasks) result(drained error, deadline time.Time) error {
	var leak error
	if n := t.live(); n > 0 {
		leak = t.leaked(n, deadline)
		t.log.ErrorContext(t, "tasks left", "live", n, "error", leak)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.returned = true
	if len(t.failures) == 0 && drained == nil && leak == nil {
		return nil
	}
	return errors.Join(append(t.failures, drained, leak)...)
}
