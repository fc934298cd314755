package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// A Group owns the goroutines of a program, or of a part of one: its tasks.
//
// The zero Group works, and touches nothing outside itself. It runs once and
// must not be copied. Set its fields before Run; its methods may be called
// concurrently.
type Group struct {
	// Start runs before any task, and opens what the tasks need. A stop ends
	// its context. Nil: there is nothing to open.
	Start func(context.Context) error

	// Drain is the plan for the stop. Put the group's Step into the phase in
	// which the tasks are to end. Without it they end in a phase of their own, the
	// last, which gets what the others leave: at least a second, or a tenth of the
	// Budget if that is less, but never a part of their Reserves.
	Drain drain.Plan

	// Limit is how many tasks may be live at once. 0 means any number.
	Limit int

	// Notify is told that Start runs and what it waits for, that the tasks run,
	// and in the drain what is left, each second. It is called by one goroutine
	// at a time and should not block. [Systemd] is one. Nil: nobody is told.
	Notify func(Status)

	// Logger gets the stop, failures, and the lines of the drain. A handler that
	// blocks holds up the end of Run until the drain's deadline, and nothing else.
	//
	// Nil: the group logs nothing that Run returns, such as failures and leaks.
	// What happens after Run has returned no caller receives, so it goes to
	// slog.Default: a task or Start that fails, a step that returns late.
	// The group that main runs, under the context of [WithSignals] or [WithFlag]
	// itself, also logs a panic there when it happens, as the process may be
	// killed in the drain, and each task that a stop finds waiting for the Limit.
	Logger *slog.Logger

	tasks tasks

	// launched is set once, under mu, after tasks was initialized. Go reads it
	// without mu: once it is set, every task goes to tasks, and none to queue.
	launched atomic.Bool

	mu      sync.Mutex
	state   state
	queue   []task        // the tasks given before the launch
	room    [3]task       // the queue's first array, as most groups are small
	stepped bool          // Step was called, so the plan has a place for the tasks
	done    chan struct{} // closed when Run ends; made by the first Run that waits for another
	err     error         // what Run returns; set with the state stopped
	drained bool          // a drain has ended
	report  *drain.Report // the drain's report; nil if there was nothing to drain
}

type task struct {
	name string
	f    func(context.Context) error
}

type state string

const (
	idle     state = "" // Run was not called
	starting state = "starting"
	running  state = "running"
	draining state = "draining"
	stopped  state = "stopped"
)

// ErrStopped is what [Group.Go] returns for a task that will not run.
var ErrStopped = errors.New("lifecycle: the group does not take tasks any more")

var errAllEnded = errors.New("lifecycle: all tasks have returned")

// Go gives the group a task. Before Run has begun the tasks, the task is queued.
// Later it starts at once or, if the group is at its Limit, as soon as another task
// ends; Go waits for that.
//
// The context of f lives until the drain plan reaches [Group.Step]; that of
// [drain.Stopping] ends as soon as the stop begins. A nil return is fine, and when
// all tasks have returned the group stops. An error, a panic or a Goexit stops the
// group too, and Run returns it. Once the group stops, a return of context.Canceled
// or of the stop's cause is as good as nil.
//
// Names should be few: they label goroutines, and tasks may share one. A task's
// goroutine has the profiler labels of Run's context and its own, and not those
// of Go's caller, which Go cannot read: to add some, call pprof.Do in f, with the
// context of f.
//
// Go returns [ErrStopped] for a task that will not run: once the tasks' contexts
// have been cancelled, and if the stop finds it waiting for the Limit. A nil f
// panics.
func (g *Group) Go(name string, f func(ctx context.Context) error) error {
	if f == nil {
		panic("lifecycle: Group.Go: nil function for task " + name)
	}
	k := task{name, f}
	if !g.launched.Load() {
		if queued, err := g.enqueue(k); queued || err != nil {
			return err
		}
	}
	return g.tasks.start(k, nil, nil)
}

// enqueue keeps k for the launch, and reports whether it did: it does not if the
// launch came first. A small queue needs no memory of its own, and a large one grows
// in few steps.
func (g *Group) enqueue(k task) (queued bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.launched.Load():
		return false, nil
	case g.state == stopped:
		return false, ErrStopped
	case g.queue == nil:
		g.queue = g.room[:0]
	case len(g.queue) == cap(g.queue):
		g.queue = slices.Grow(g.queue, max(13, 3*len(g.queue)))
	}
	g.queue = append(g.queue, k)
	return true, nil
}

// Run runs the tasks until a stop, drains, and returns what went wrong. Its steps
// each follow the one before:
//
//	Start runs; if it fails, nothing else does
//	tasks start, and readiness turns true; without a task Run waits for ctx
//	a stop: ctx ends, a task fails, or all tasks have returned
//	readiness turns false, and the tasks' Stopping contexts end
//	the drain plan runs; its Step cancels the tasks and waits for them
//	tasks that did not end are named in a *LeakError, and Run returns
//
// So a stop never cancels a healthy task before its phase.
//
// Run returns nil after an orderly stop, by a signal too; the cause stays in
// context.Cause(ctx). Else it returns the tasks' failures, then those of the
// plan's steps in phase order, then the [*LeakError], joined. It waits for the
// plan's Budget at most, and for a Start that ignores its context as long, or
// until a second stop. Where ctx has ended before Run, no task runs, and with a
// Start nothing at all.
//
// Concurrent and later callers wait for the one run and get the same result. A
// task must not call Run of its own group: it panics.
func (g *Group) Run(ctx context.Context) error {
	if t, ok := ctx.Value(groupKey{}).(*tasks); ok && t == &g.tasks {
		panic("lifecycle: Group.Run called by one of its own tasks, for which it waits")
	}
	g.mu.Lock()
	switch g.state {
	case idle:
		g.state = starting
		g.mu.Unlock()
		err := labels.ErrGoexit
		defer func() {
			v := recover() // of Notify: what else is not ours runs in goroutines
			if v != nil {
				err = &PanicError{Value: v, Stack: debug.Stack()}
			}
			g.finish(err)
			if v != nil {
				panic(v)
			}
		}()
		err = g.run(ctx)
		return err
	case stopped:
		defer g.mu.Unlock()
		return g.err
	}
	if g.done == nil {
		g.done = make(chan struct{})
	}
	done := g.done
	g.mu.Unlock()
	<-done
	return g.err
}

func (g *Group) finish(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err, g.state, g.queue = err, stopped, nil
	if g.done != nil {
		close(g.done)
	}
}

func (g *Group) run(ctx context.Context) error {
	if g.Limit < 0 {
		return fmt.Errorf("lifecycle: Group.Limit: %d is negative; 0 means any number", g.Limit)
	}
	t := &g.tasks
	t.logTo(ctx, g.Logger)
	if err := g.validate(); err != nil {
		return err
	}
	var began time.Time // of the stop
	if t.loud != nil {
		defer func() { g.flush(ctx, began) }()
	}
	if g.Start != nil {
		if ctx.Err() != nil {
			return nil
		}
		if err := g.start(ctx); err != nil {
			if ctx.Err() != nil && obeyed(err, context.Cause(ctx)) {
				return nil
			}
			return fmt.Errorf("lifecycle: start: %w", err)
		}
	}
	t.init(ctx, g.Limit)
	g.launch(ctx, t)
	why := t.wait(ctx)
	began = time.Now()
	if g.Logger != nil {
		t.log.InfoContext(ctx, "stop", stopAttrs(why)...)
	}
	g.notify(Status{State: string(draining), Cause: why, Falling: true})
	var report *drain.Report
	var err error
	if len(g.Drain.Phases) > 0 || !t.closeQuiet() {
		report, err = g.drain(stoppedAt(ctx, why, began), t, g.progress(why))
	}
	g.mu.Lock()
	g.report, g.drained = report, true
	g.mu.Unlock()
	t.cancel(why)
	var deadline time.Time
	if report != nil {
		deadline = report.Deadline
	}
	return t.result(err, deadline)
}

// condition returns the state, and the cause of a stop.
func (g *Group) condition() (state, error) {
	g.mu.Lock()
	s := g.state
	g.mu.Unlock()
	why := g.tasks.stopCause()
	if s == running && why != nil {
		s = draining
	}
	return s, why
}

func stopAttrs(why error) []any {
	attrs := []any{"cause", why}
	var s *SignalError
	if errors.As(why, &s) {
		attrs = append(attrs, "signal", s.Signal.String())
	}
	return attrs
}
