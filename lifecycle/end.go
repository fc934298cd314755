package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/count"
)

// ending is how far the end of the tasks has come. Each word changes once, in the
// order of the fields, except that within counts:
//
//	begun    stop    the stop begins
//	until    end     the group's Step began, if it has a deadline
//	within   close   shut: no task enters any more
//	gaveUp   end     the Step or Kill could not wait for all
//
// Each of these is read without mu. A reader that misses a change does what it would
// have done a moment earlier, and that is safe: nothing enters within once it is shut,
// and close waits for all that entered before.
type ending struct {
	begun  atomic.Bool               // the stop has begun
	until  atomic.Pointer[time.Time] // when the Step stops waiting; nil before it began
	within count.Count               // the live tasks, and Run's own hold during the launch
	gaveUp atomic.Bool               // a Step stopped waiting while tasks were live

	mu    sync.Mutex // guards what follows, and stop
	cause error      // of the stop; set before begun, so whoever saw that reads it without mu

	// idle is closed when the last task has left. close sets it before it shuts within,
	// and nothing else shuts that while a task is live. So a task that leaves and finds
	// within shut reads idle without mu, and so does a caller of close after it.
	idle     chan struct{}
	failures []error
	search   *search // for the tasks that do not end
	returned bool    // Run has returned, so a failure comes too late for it

	soft context.Context // made when Stopping first asks for it
	tell context.CancelCauseFunc
}

// stop begins the stop with the cause why, unless it has begun. It returns the
// cause that counts, which is the first.
func (t *tasks) stop(why error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if first := t.stopCause(); first != nil {
		return first
	}
	t.cause = why
	t.begun.Store(true)
	if t.stopping != nil {
		close(t.stopping)
	}
	if t.tell != nil {
		t.tell(why)
	}
	return why
}

func (t *tasks) stopCause() error {
	if t.begun.Load() {
		return t.cause
	}
	return nil
}

// close begins the stop if it has not begun, takes no more tasks, and cancels the
// tasks' contexts.
func (t *tasks) close(why error) {
	t.stop(why)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle == nil {
		t.idle = make(chan struct{})
		if t.within.Shut() == 0 { // the last task left before it could see the shutting
			close(t.idle)
		}
	}
	t.cancel(t.cause)
}

// errReached is the cause of the stop if a plan other than the group's own runs the
// group's Step.
var errReached = fmt.Errorf("lifecycle: a drain plan reached the tasks: %w", context.Canceled)

// end is the Stop of the group's Step.
func (t *tasks) end(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok {
		t.until.Store(&d) // before the tasks' own drains begin
	}
	t.close(errReached)
	if t.live() == 0 {
		return nil
	}
	carried.Count(ctx, t, t.live)
	select {
	case <-t.idle:
		return nil
	case <-ctx.Done():
		t.gaveUp.Store(true)
		return context.Cause(ctx)
	}
}

// kill is the Kill of the group's Step.
func (t *tasks) kill() {
	t.close(errReached)
	if t.live() == 0 {
		return
	}
	t.gaveUp.Store(true)
	t.mu.Lock()
	if t.search == nil { // it goes on beside the end of the drain
		t.search = look(t.owner)
	}
	t.mu.Unlock()
	<-t.idle // the drain abandons this call, which then returns with the last task
}

// result returns what Run returns: the failures, the error of the drain, and the
// leak, joined.
func (t *tasks) result(drained error, report *drain.Report) error {
	var leak error
	if n := t.live(); n > 0 {
		leak = t.leaked(n, report.Deadline)
		t.log.ErrorContext(t.ctx, "tasks left", "live", n, "error", leak)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.returned = true
	if len(t.failures) == 0 && drained == nil && leak == nil {
		return nil
	}
	return errors.Join(append(t.failures, drained, leak)...)
}

// obeyed reports whether err only says that the stop with the cause why has begun:
// each branch of err ends in why or in context.Canceled. A panic, a leak or a
// permanent error says more.
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

// same reports whether two errors are equal. Errors of a type such as []error cannot
// be compared by ==, which would panic.
func same(a, b error) bool {
	if reflect.ValueOf(a).Comparable() {
		return a == b
	}
	return reflect.DeepEqual(a, b)
}
