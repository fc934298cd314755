package lifecycle

import (
	"cmp"
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

// A Stream is a generator that can be closed at any time, by any goroutine, unlike
// that of iter.Pull. A producer yields elements in its own goroutine, and a loop over
// [Stream.All] takes them. [Generate] makes a Stream.
//
// Its methods may be called concurrently. If several loops range over it, each
// element goes to one of them.
type Stream[T any] struct {
	ctx    context.Context // the producer's: ends with the owner's, or by Close
	cancel context.CancelCauseFunc
	owner  context.Context // what Generate was given
	group  *tasks          // the owner's; nil without a group
	label  string

	producer atomic.Int64  // its goroutine's id; 0 until it runs
	closed   atomic.Bool   // Close was called, or a loop was left early
	done     chan struct{} // closed when the producer has returned
	err      error         // what Err returns; set before done is closed

	elements handover[T]
}

// Generate starts the producer f in a goroutine, and returns the stream of what it
// yields. When yield returns false, f should return: the stream is closed, or ctx
// has ended. f must not call yield after it has returned.
//
// The stream ends when ctx does. If ctx is the context of a [Group]'s task, the
// goroutine has the task's label. The group does not wait for the stream.
//
// The producer may run ahead of the loop by up to twice the buffer. Closing the
// stream drops those elements. With a buffer of 0, yield waits until the loop takes
// the element.
//
// If f panics, Close and Err return a [*PanicError]. In a group's task the panic also
// stops the group, and is logged like the panic of a task. Without a group, or after
// Run has returned, it is logged with its stack: to the group's Logger, else to
// slog.Default.
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
	s.label = labels.PathOf(ctx, f) // one label for all streams of f
	s.ctx, s.cancel = context.WithCancelCause(labels.With(ctx, s.label, cmp.Or(labels.Name(ctx), "stream")))
	go func() {
		s.producer.Store(goroutine())
		labels.Set(s.ctx)
		panics.Call[PanicError](s.ctx, log, "stream", func(ctx context.Context) error { return f(ctx, s.yield) }, s.finish)
	}()
	return s
}

// All returns an iterator over the stream's elements. The loop ends when the producer
// returns, the stream is closed, or the context given to Generate ends. Leaving the
// loop early closes the stream. Call Err after the loop to see how the stream ended.
//
// The loop always waits for the producer to return. A producer that ignores its
// context blocks the loop. If the loop is in a [Group]'s task, the group's
// [*LeakError] names both.
func (s *Stream[T]) All() iter.Seq[T] {
	return func(body func(T) bool) {
		ended := false // the stream ended before the loop did
		defer func() {
			if !ended {
				s.stop()
			}
			<-s.done
		}()
		ended = s.elements.each(s.ctx.Done(), func(v T) bool { return !s.closed.Load() && body(v) })
	}
}

// Err returns the producer's error. It is nil while the producer runs. After a close,
// context.Canceled counts as nil: the producer only obeyed. If the context given to
// Generate ended and the producer returned nil, Err is that context's cause, as more
// elements may have followed.
func (s *Stream[T]) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close stops the producer, waits for it, and returns its error as Err does. If ctx
// ends first, Close returns ctx's cause and a [*LeakError], which lists all producers
// with the same function and owner.
//
// Close may be called at any time, more than once, and from any goroutine: while the
// producer runs or is blocked, and inside the loop. Inside the producer it does not
// wait. In a task whose context has ended, pass context.WithoutCancel(ctx) to wait.
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

// finish ends the stream with what the producer returned. It is called once.
func (s *Stream[T]) finish(err error) {
	switch {
	case s.closed.Load() && obeyed(err, errClosed):
		err = nil
	case err == nil && s.owner.Err() != nil && !s.closed.Load():
		err = context.Cause(s.owner) // it may have had more to yield
	}
	var p *PanicError
	if s.group != nil && errors.As(err, &p) {
		s.group.failed("stream", err) // the caller may never call Err
	}
	s.err = err
	close(s.done)
	s.cancel(errClosed) // after done, so that a loop that sees the end finds the error
}

// goroutine returns the id of the calling goroutine, which only stack traces show.
// Close needs it: a producer that closes its own stream may do so under any context,
// and would wait for itself.
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

// A handover passes elements from one producer to loops. With room for one element
// or none it is a channel. With more, the producer fills one slice while a loop
// empties another, and then they swap. That costs less per element than a channel.
type handover[T any] struct {
	c chan T // nil if the slices are used

	size  int
	data  chan struct{} // wakes take: fill is no longer empty; has room for one
	space chan struct{} // wakes put: fill was taken; has room for one
	mu    sync.Mutex
	fill  []T
}

func newHandover[T any](size int) handover[T] {
	if size <= 1 {
		return handover[T]{c: make(chan T, max(size, 0))}
	}
	return handover[T]{size: size, data: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

// put hands over v. It returns false if end was closed first.
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

// each calls body with each element. It returns false if body did, and true if end is
// closed and no element is left.
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

// take waits for elements and returns them. spare is an empty slice that take may
// reuse. Once end is closed and no element is left, it returns none.
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
