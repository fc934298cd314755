package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// A Stream is a generator: a producer in a goroutine of its own, and a loop
// that takes what it yields. Unlike with iter.Pull, anybody may close it at any
// time. [Generate] makes one. Its methods may be called concurrently; where
// several loops range over it, each element goes to one of them.
type Stream[T any] struct {
	ctx    context.Context // the producer's: ends with the owner's, or by Close
	cancel context.CancelCauseFunc
	owner  context.Context // what Generate was given
	group  *tasks          // the owner's; nil where it is no group's
	label  string

	producer atomic.Int64  // its goroutine's id; 0 until it runs
	closed   atomic.Bool   // somebody wants no more
	done     chan struct{} // closed when the producer has returned
	err      error         // what it came to, once done is closed

	elements handover[T]
}

// Generate starts f in a goroutine and returns the stream of what it yields.
// The context names the owner: its end ends the stream, and where it is that of
// a [Group]'s task, the goroutine bears the task's label. A stream does not keep
// a group from ending.
//
// buffer is how far the producer may run ahead of the loop: by twice as many
// elements at most, which a close drops. 0 means that it waits for each to be
// taken. yield returns false once nobody wants more, and then f should return;
// it must not be called after f has returned.
//
// A panic of f becomes a [*PanicError], which Close and Err return. If the context
// is that of a group's task, the panic also stops the group, and is logged as
// that of a task is. Without a group, and after Run has returned, it is logged
// with its stack, to slog.Default if the group has no Logger. A later Run returns
// what the first one did, without it.
func Generate[T any](ctx context.Context, buffer int, f func(ctx context.Context, yield func(T) bool) error) *Stream[T] {
	s := &Stream[T]{owner: ctx, done: make(chan struct{}), elements: newHandover[T](buffer)}
	t, inGroup := ctx.Value(groupKey{}).(*tasks)
	log := logs.Loud(nil)
	if inGroup {
		s.group, log = t, t.loud
	}
	if ctx.Err() != nil {
		s.ctx, s.cancel = ctx, func(error) {}
		s.finish(nil)
		return s
	}
	s.label = labels.PathOf(ctx, f) // shared, as streams may be many
	s.ctx, s.cancel = context.WithCancelCause(labels.With(ctx, s.label, ""))
	go func() {
		s.producer.Store(goroutine())
		labels.Set(s.ctx)
		panics.Call(s.ctx, log, "stream", func(ctx context.Context) error { return f(ctx, s.yield) }, s.finish)
	}()
	return s
}

// All returns the loop over the stream's elements. It ends when the producer
// has returned, or when the stream is closed or its owner's context ends.
// Leaving it early closes the stream. Either way it returns only when the
// producer has, as a call would: one that ignores its context holds up its
// loop, and where that is in a [Group]'s task, is named with it. After the loop
// Err tells how the stream ended.
func (s *Stream[T]) All() iter.Seq[T] {
	return func(body func(T) bool) {
		ended := false // the stream did, not the loop
		defer func() {
			if !ended {
				s.stop()
			}
			<-s.done
		}()
		ended = s.elements.each(s.ctx.Done(), func(v T) bool { return !s.closed.Load() && body(v) })
	}
}

// Err returns the producer's error once it has returned. What it returns
// because the stream was closed is not an error. That its owner's context had
// ended is one, as there may have been more to come. Before, Err is nil.
func (s *Stream[T]) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close stops the producer, waits for it, and returns its error as Err does.
// If ctx ends first, it returns ctx's cause and a [*LeakError] with the producer's
// stack. That lists the producers that have the same function and the same owner.
//
// Close may be called from anywhere, at any time, many times: while the producer
// runs or is blocked, from inside the loop, and from inside the producer, where it
// only stops and does not wait for itself. In a task that was told to end, pass
// context.WithoutCancel(ctx) to wait all the same.
func (s *Stream[T]) Close(ctx context.Context) error {
	s.stop()
	select {
	case <-s.done:
		return s.err
	default:
	}
	if id := goroutine(); id != 0 && id == s.producer.Load() {
		return nil
	}
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("lifecycle: stream: %w: %w", context.Cause(ctx), look(s.label).leaked(1, time.Now().Add(time.Second)))
	}
}

var errClosed = fmt.Errorf("lifecycle: the stream was closed: %w", context.Canceled)

func (s *Stream[T]) stop() {
	s.closed.Store(true)
	s.cancel(errClosed)
}

func (s *Stream[T]) yield(v T) bool {
	return s.ctx.Err() == nil && s.elements.put(s.ctx.Done(), v)
}

// finish is called once, with what the producer returned.
func (s *Stream[T]) finish(err error) {
	switch {
	case s.closed.Load() && obeyed(err, errClosed):
		err = nil
	case err == nil && s.owner.Err() != nil && !s.closed.Load():
		err = context.Cause(s.owner) // it may have had more to yield
	}
	var p *PanicError
	if s.group != nil && errors.As(err, &p) {
		s.group.failed("stream", err) // whoever takes from the stream may not look
	}
	s.err = err
	close(s.done)
	s.cancel(errClosed) // after done, so that a loop which sees the end finds the error
}

// goroutine returns the id of the calling goroutine. The runtime gives it to
// stack traces alone; who closes a stream from inside its own producer may do so
// under any context, and would wait for itself.
func goroutine() (id int64) {
	var buf [40]byte // "goroutine 18 [running]:…"
	for _, c := range buf[len("goroutine "):runtime.Stack(buf[:], false)] {
		if c < '0' || c > '9' {
			break
		}
		id = 10*id + int64(c-'0')
	}
	return id
}

// A handover passes elements from one producer to loops. With room for one
// element it is a channel. With more, the producer fills one slice while a loop
// empties another, and they swap: less than a channel's cost for each element.
type handover[T any] struct {
	c chan T // nil where the slices are used

	size  int
	data  chan struct{} // has room for one: fill is not empty any more
	space chan struct{} // has room for one: fill was taken
	mu    sync.Mutex
	fill  []T
}

func newHandover[T any](size int) handover[T] {
	if size <= 1 {
		return handover[T]{c: make(chan T, max(size, 0))}
	}
	return handover[T]{size: size, data: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

// put hands over v, and reports false if it could not before end was closed.
func (h *handover[T]) put(end <-chan struct{}, v T) bool {
	if h.c != nil {
		select {
		case h.c <- v:
			return true
		case <-end:
			return false
		}
	}
	for {
		h.mu.Lock()
		n := len(h.fill)
		if n < h.size {
			h.fill = append(h.fill, v)
		}
		h.mu.Unlock()
		if n == 0 {
			wake(h.data)
		}
		if n < h.size {
			return true
		}
		select {
		case <-h.space:
		case <-end:
			return false
		}
	}
}

// each calls body with each element until it returns false, or end is closed
// and nothing is left, which it reports.
func (h *handover[T]) each(end <-chan struct{}, body func(T) bool) bool {
	var batch []T
	for {
		batch = h.take(end, batch)
		for _, v := range batch {
			if !body(v) {
				return false
			}
		}
		if len(batch) == 0 {
			return true
		}
		clear(batch)
	}
}

// take waits for elements and returns them, in place of an empty slice that is
// not used any more. After the last ones it returns none.
func (h *handover[T]) take(end <-chan struct{}, spare []T) []T {
	if h.c != nil {
		select {
		case v := <-h.c:
			return append(spare[:0], v)
		case <-end:
		}
		select {
		case v := <-h.c:
			return append(spare[:0], v)
		default:
			return nil
		}
	}
	for last := false; ; {
		h.mu.Lock()
		batch := h.fill
		if len(batch) > 0 {
			h.fill = spare[:0]
		}
		h.mu.Unlock()
		if len(batch) > 0 {
			wake(h.space)
			return batch
		}
		if last {
			return nil
		}
		select {
		case <-h.data:
		case <-end:
			last = true
		}
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
