package lifecycle

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// A Flag records that a stop was asked for, and how often. [WithFlag] makes one.
// Its methods may be called concurrently.
type Flag struct {
	raised atomic.Bool
	end    context.CancelCauseFunc // ends the flag's context
	force  context.CancelFunc      // called at the stage forced

	mu    sync.Mutex
	stage stage
	asked time.Time // when the stage left calm
	last  time.Time // when the stage was last changed
}

// A stage is how often a stop was asked for, as far as it counts.
type stage int

const (
	calm   stage = iota
	asked        // drain
	forced       // drain no longer
	lethal       // die
)

// apart is how long after one request the next one counts: one Ctrl-C often
// arrives twice, from the terminal and from a wrapper that forwards it.
const apart = 100 * time.Millisecond

// next is the whole rule: the stage after a request that comes this long after
// the last one that counted, if it counts from least on.
func (s stage) next(since, least time.Duration) stage {
	if s == calm || s < lethal && since >= least {
		return s + 1
	}
	return s
}

// WithFlag returns a context that ends when the flag is raised, with the cause
// it is raised with, or when ctx ends. A [Group] run under it drains at the
// first Raise and is forced by the second. It is [WithSignals] without the
// process: for tests, and for programs that are told to stop in another way.
func WithFlag(ctx context.Context) (context.Context, *Flag) {
	f := new(Flag)
	outer := wire.StopOf(ctx) // of another hook: both count
	stop := wire.Stop{Asked: func() time.Time { return earlier(outer.Asked(), f.when()) }}
	stop.Force, f.force = context.WithCancel(outer.Force)
	ctx, f.end = context.WithCancelCause(ctx)
	stop.Err = ctx.Err
	return &flagged{ctx, stop}, f
}

// flagged is the context that WithFlag returns. A [Group] that Run gives it, and
// not one derived from it, is the one that main runs.
type flagged struct {
	context.Context
	stop wire.Stop
}

func (c *flagged) Value(key any) any {
	if key == wire.StopKey {
		return &c.stop
	}
	return c.Context.Value(key)
}

// earlier returns the earlier of two times; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Raise asks for a stop, with why as the context's cause; nil means
// context.Canceled. It never blocks. What comes less than 100 ms after a Raise
// that counted does not count; the second that does forces; a third does
// nothing more.
func (f *Flag) Raise(why error) { f.raise(time.Now(), apart, why) }

// raise returns the stage that the request led to; calm if it did not count.
func (f *Flag) raise(now time.Time, least time.Duration, why error) stage {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.stage.next(now.Sub(f.last), least)
	if next == f.stage {
		return calm
	}
	f.stage, f.last = next, now
	switch next {
	case asked:
		f.asked = now
		f.raised.Store(true)
		f.end(why)
	case forced:
		f.force()
	}
	return next
}

// Raised reports whether a stop was asked for. It costs an atomic load.
func (f *Flag) Raised() bool { return f.raised.Load() }

func (f *Flag) when() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}
