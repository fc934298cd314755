package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

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
