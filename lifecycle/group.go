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

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// A Group owns the goroutines of a program, or of a part of one: its tasks. Give it
// tasks with [Group.Go]; then [Group.Run] runs them until a stop, drains, and
// returns what went wrong.
//
// The zero Group is ready to use, and changes nothing outside itself. It runs once
// and must not be copied. Set its fields before Run. Its methods may be called
// concurrently.
type Group struct {
	// Start opens what the tasks need. It runs before any task, and its context
	// ends when Run's does. Nil means there is nothing to open.
	Start func(context.Context) error

	// Drain is the plan for the stop. Put the group's Step into the phase in which
	// the tasks should end. If no phase has it, the tasks end in an added last phase.
	// That gets what the other phases leave. Its Reserve is 1 s, or a tenth of the
	// Budget if that is less, and never takes from the Reserves of the others.
	Drain drain.Plan

	// Limit is the most tasks that may run at once. 0 means no limit.
	Limit int

	// Notify receives the group's Status: when Start begins and when it waits, when
	// the tasks run and when one waits for a restart.Lease, when the stop begins, and
	// each second of the drain. Only one
	// goroutine calls it at a time. It should not block. Nil means no calls.
	// [Systemd] is a Notify.
	Notify func(Status)

	// Logger gets the stop, the failures and the lines of the drain. A handler that
	// blocks can delay the end of Run until the drain's deadline, and nothing else.
	//
	// With a nil Logger the group logs nothing that Run returns. These lines go to
	// slog.Default:
	//   - what happens after Run has returned: a task or Start that fails, a step
	//     that returns late
	//   - each panic when it happens, as the process may be killed in the drain, and
	//     each task that never ran because it waited for the Limit at the stop; both
	//     only in the main group, whose Run gets the context of [WithSignals] or
	//     [WithFlag] itself
	Logger *slog.Logger

	tasks     tasks
	notifying chan struct{} // has a token while Notify runs; set by Run

	// launched is set once, under mu, after tasks was initialized. Go reads it
	// without mu: once it is set, every task goes to tasks, and none to queue.
	launched atomic.Bool

	mu      sync.Mutex
	state   State
	queue   []task        // the tasks given before the launch
	stepped bool          // Step was called, so the plan has a place for the tasks
	done    chan struct{} // closed when Run ends; made by the first Run that waits for another
	err     error         // what Run returns
	report  *drain.Report // of the drain that has ended; published with the state stopped
}

type task struct {
	name string
	f    func(context.Context) error
}

// ErrStopped is what [Group.Go] returns for a task that will not run.
var ErrStopped = errors.New("lifecycle: the group takes no more tasks")

var errAllEnded = errors.New("lifecycle: all tasks have returned")

// Go runs f in a goroutine, as a task of the group. Until Run starts the tasks, Go
// queues it. Later, at the Limit, Go waits until another task ends.
//
// The stop has two moments for a task. First [drain.Stopping] of its context ends:
// take no new work. Then, when the drain plan reaches [Group.Step], the context
// itself ends: return.
//
// An error, a panic or a runtime.Goexit of f stops the group, and Run returns it. A
// nil return ends only the task; the group stops when all tasks have returned. After
// the stop has begun, context.Canceled and the cause of the stop count as nil.
//
// The name labels the task's goroutine in profiles, and appears in errors. Tasks may
// share a name. Use few: all names after the 64th share the label "(others)". The
// goroutine has the profiler labels of Run's context, not those of
// Go's caller, which Go cannot read. To add some, call pprof.Do in f.
//
// Go returns [ErrStopped] if the task will not run: because the group has cancelled
// its tasks, or because the stop began while Go waited for the Limit. A nil f panics.
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
// launch came first. The queue grows in few steps: with a plain append the bench's
// Group was 6 to 8 % slower.
func (g *Group) enqueue(k task) (queued bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.launched.Load():
		return false, nil
	case g.state == stopped:
		return false, ErrStopped
	case len(g.queue) == cap(g.queue):
		g.queue = slices.Grow(g.queue, max(4, 3*len(g.queue)))
	}
	g.queue = append(g.queue, k)
	return true, nil
}

// Run runs the tasks until a stop, drains, and returns what went wrong. In order:
//
//  1. Start runs. If it fails, Run returns its error.
//  2. The tasks start, and readiness turns true. Without a task Run waits for ctx.
//  3. A stop begins: ctx ends, a task fails, or all tasks have returned.
//  4. Readiness turns false, and the tasks' Stopping contexts end.
//  5. The drain plan runs. Its Step cancels the tasks and waits for them.
//  6. Run names the tasks that have not returned in a [*LeakError], and returns.
//
// So a stop never cancels a healthy task before its phase.
//
// Run returns nil after an orderly stop, even one by a signal; context.Cause(ctx)
// says why it stopped. Otherwise it joins the tasks' failures, the failures of the
// plan's steps in phase order, and the LeakError.
//
// The drain takes the plan's Budget at most. If Start ignores the end of its
// context, Run waits for it for the Budget, or until a second stop. If ctx has ended
// before Run, Run calls neither tasks nor Start; the drain plan runs only if there
// is no Start.
//
// Concurrent and later callers wait for the one run and get the same result. Run
// panics if a task of the group calls it, as it would wait for itself.
func (g *Group) Run(ctx context.Context) error {
	if t, ok := ctx.Value(groupKey{}).(*tasks); ok && t == &g.tasks {
		panic("lifecycle: Group.Run called by one of its own tasks: it would wait for itself")
	}
	g.mu.Lock()
	switch g.state {
	case idle:
		g.state = Starting
		g.mu.Unlock()
		err := panics.ErrGoexit
		defer func() {
			v := recover() // Notify panicked: all other code of the user runs in goroutines
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
	if g.Notify != nil {
		g.notifying = make(chan struct{}, 1)
	}
	t := &g.tasks
	t.logTo(ctx, g.Logger)
	if err := g.validate(); err != nil {
		return err
	}
	if t.loud != nil {
		defer g.flush(ctx)
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
	t.waits = g.waits()
	g.launch(ctx)
	select {
	case <-ctx.Done():
	case <-t.stopping: // a task failed, or all have returned
	}
	why := t.stop(context.Cause(ctx))
	if g.Logger != nil {
		t.log.InfoContext(ctx, "stop", stopAttrs(why)...)
	}
	g.notify(Status{State: Draining, Cause: why, Falling: true})
	report, err := new(drain.Report), error(nil)
	if len(g.Drain.Phases) > 0 || !t.within.ShutEmpty() {
		report, err = g.drain(ctx, why)
	}
	g.report = report
	t.close(why)
	return t.result(err, g.report)
}

func stopAttrs(why error) []any {
	attrs := []any{"cause", why}
	var s *SignalError
	if errors.As(why, &s) {
		attrs = append(attrs, "signal", s.Signal.String())
	}
	return attrs
}
