package lifecycle

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// A Flag records that a stop was requested, and how often. [WithFlag] makes one. Its
// methods may be called concurrently.
type Flag struct {
	raised atomic.Bool
	end    context.CancelCauseFunc // ends the flag's context
	force  context.CancelFunc      // called at the stage forced

	mu    sync.Mutex
	stage stage
	asked time.Time // when the stage left calm
	last  time.Time // when the stage was last changed
}

// A stage is how many requests for a stop have counted.
type stage int

const (
	calm   stage = iota
	asked        // the group drains
	forced       // the drain is forced
	lethal       // the process is killed
)

// apart is how long after a request that counted the next one counts. One Ctrl-C
// often arrives twice: from the terminal, and from a wrapper that forwards it.
const apart = 100 * time.Millisecond

// next is the whole rule: it returns the stage after a request that came since after
// the last one that counted. A request counts if since is least or more.
func (s stage) next(since, least time.Duration) stage {
	if s == calm || s < lethal && since >= least {
		return s + 1
	}
	return s
}

// WithFlag is [WithSignals] without signals, for tests and for programs that stop for
// other reasons. It returns a context that ends at the first [Flag.Raise], with its
// cause, or when ctx ends. If a [Group] runs under this context, the first Raise makes
// it drain, and the second forces the drain.
func WithFlag(ctx context.Context) (context.Context, *Flag) {
	f := new(Flag)
	outer := carried.StopOf(ctx) // the stop of an outer flag counts too
	stop := carried.Stop{Asked: func() time.Time { return earlier(outer.Asked(), f.when()) }}
	stop.Force, f.force = context.WithCancel(outer.Force)
	ctx, f.end = context.WithCancelCause(ctx)
	stop.Err = ctx.Err
	return &flagged{ctx, stop}, f
}

// flagged is the context that WithFlag returns. A [Group] whose Run gets it, and not a
// context derived from it, is the main group.
type flagged struct {
	context.Context
	stop carried.Stop
}

func (c *flagged) Value(key any) any {
	if key == carried.StopKey {
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

// Raise requests a stop, with why as the context's cause. A nil why means
// context.Canceled. The second Raise forces the drain, and further ones do nothing. A
// Raise within 100 ms of one that counted does not count. Raise never blocks.
func (f *Flag) Raise(why error) { f.raise(time.Now(), apart, why) }

// raise returns the stage that the request led to, or calm if it did not count.
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

// Raised reports whether a stop was requested. It costs an atomic load.
func (f *Flag) Raised() bool { return f.raised.Load() }

func (f *Flag) when() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}
