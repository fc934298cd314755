package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// tasks are the goroutines of a group that runs, and their context: the one of
// Run without its end, cancelled by close.
type tasks struct {
	context.Context
	cancel context.CancelCauseFunc
	owner  string
	log    *slog.Logger // never nil
	panics *slog.Logger // the group's own, where nil means standard error

	goroutines errgroup.Group
	slots      chan struct{} // a token for each live task; nil without a Limit

	// word is twice the number of live tasks, plus one once closed. No task
	// slips in behind the close, and giving up leaves no waiter behind.
	word     atomic.Int64
	wake     chan struct{} // has room for one; sent to when word falls to 0
	idle     chan struct{} // closed when word falls to 1
	stopping chan struct{} // closed when the stop begins
	over     chan struct{} // closed when Run has given up waiting

	mu       sync.Mutex
	cause    error // of the stop; set before stopping is closed
	failures []error
	names    map[string]context.Context // labelled, one for each name
	soft     context.Context            // made when Stopping first asks for it
	tell     context.CancelCauseFunc
}

func newTasks(ctx context.Context, limit int, log *slog.Logger) *tasks {
	t := &tasks{
		log:      cmp.Or(log, slog.New(slog.DiscardHandler)),
		panics:   log,
		wake:     make(chan struct{}, 1),
		idle:     make(chan struct{}),
		stopping: make(chan struct{}),
		over:     make(chan struct{}),
		names:    make(map[string]context.Context),
	}
	t.Context, t.owner = labels.Own(context.WithoutCancel(ctx))
	t.Context, t.cancel = context.WithCancelCause(t.Context)
	if limit > 0 {
		t.slots = make(chan struct{}, limit)
	}
	t.word.Store(2) // Run's own, until launched: so the first tasks' end is not taken for that of all
	return t
}

func (t *tasks) Value(key any) any {
	if key == wire.SoftKey {
		return t
	}
	return t.Context.Value(key)
}

// Soft implements [wire.Soft]. Inside a task of another group, it ends with that
// group's too: who waits for that one's stop wants to be told through both.
func (t *tasks) Soft() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.soft == nil {
		t.soft, t.tell = context.WithCancelCause(drain.Stopping(t.Context))
		if t.cause != nil {
			t.tell(t.cause)
		}
	}
	return t.soft
}

// start starts a task, or where there is no slot waits for one, until the stop
// begins or until is closed.
func (t *tasks) start(k task, until <-chan struct{}) error {
	if t.slots != nil && !t.acquire(until) {
		return ErrStopped
	}
	for {
		n := t.word.Load()
		if n&1 != 0 {
			t.release()
			return ErrStopped
		}
		if t.word.CompareAndSwap(n, n+2) {
			break
		}
	}
	ctx := t.named(k.name)
	t.goroutines.Go(func() (failure error) {
		labels.Set(ctx)
		labels.Call(ctx, t.panics, k.name, k.f, func(err error) { failure = t.ended(k.name, err) })
		return failure
	})
	return nil
}

// acquire reports whether it got a slot.
func (t *tasks) acquire(until <-chan struct{}) bool {
	select {
	case t.slots <- struct{}{}:
		return true
	default:
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

// maxNames bounds the labelled contexts: names should be few, and where they
// are not, a task's goroutines bear the group's label alone.
const maxNames = 1000

func (t *tasks) named(name string) context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	ctx, ok := t.names[name]
	switch {
	case ok:
	case len(t.names) < maxNames:
		ctx = labels.Named(t, name)
		t.names[name] = ctx
	default:
		ctx = t
	}
	return ctx
}

// ended counts a task out, and returns its failure, if it is one.
func (t *tasks) ended(name string, err error) error {
	if why, stopping := t.stopCause(); stopping && obeyed(err, why) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("lifecycle: task %s: %w", name, err)
		t.log.ErrorContext(t, "task failed", "task", name, "error", err)
		t.mu.Lock()
		t.failures = append(t.failures, err)
		t.mu.Unlock()
		t.stop(err)
	}
	t.release()
	t.leave(true)
	return err
}

// obeyed reports whether err only says that a stop was asked for, for that cause.
func obeyed(err, why error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, why)
}

func (t *tasks) leave(wake bool) {
	switch t.word.Add(-2) {
	case 0:
		if wake {
			select {
			case t.wake <- struct{}{}:
			default:
			}
		}
	case 1:
		close(t.idle)
	}
}

// launched ends Run's own hold on the count.
func (t *tasks) launched(n int) { t.leave(n > 0) }

// wait returns at the stop, with its cause.
func (t *tasks) wait(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			t.stop(context.Cause(ctx))
		case <-t.wake:
			if !t.quiet() { // a task came after the last one left
				continue
			}
			t.stop(errAllEnded)
		case <-t.stopping:
		}
		why, _ := t.stopCause()
		return why
	}
}

func (t *tasks) quiet() bool { return t.word.Load()>>1 == 0 }

// stop begins the stop. The first cause counts.
func (t *tasks) stop(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause != nil {
		return
	}
	t.cause = why
	close(t.stopping)
	if t.tell != nil {
		t.tell(why)
	}
}

func (t *tasks) stopCause() (error, bool) {
	select {
	case <-t.stopping:
		return t.cause, true
	default:
		return nil, false
	}
}

// close takes no more tasks and cancels those that live.
func (t *tasks) close(why error) {
	t.stop(why)
	if t.word.Or(1) == 0 {
		close(t.idle)
	}
	why, _ = t.stopCause()
	t.cancel(why)
}

// errReached is the cause where a plan that is not the group's own has its Step.
var errReached = fmt.Errorf("lifecycle: a drain plan reached the tasks: %w", context.Canceled)

// end is the group's Step.
func (t *tasks) end(ctx context.Context) error {
	t.close(errReached)
	select {
	case <-t.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *tasks) kill() {
	t.close(errReached)
	select {
	case <-t.idle:
	case <-t.over:
	}
}

// result ends the wait for tasks, and joins what went wrong.
func (t *tasks) result(drained error) error {
	close(t.over)
	var leak error
	if n := int(t.word.Load() >> 1); n > 0 {
		l := leaked(t.owner, n)
		t.log.ErrorContext(t, "tasks left", "live", n, "error", l)
		leak = l
	} else {
		t.goroutines.Wait() // they have left; this is for their last instructions
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(append(t.failures, drained, leak)...)
}
