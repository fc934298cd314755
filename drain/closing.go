package drain

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// drain ends a gate's work as far as that needs no force:
//
//	it refuses new work
//	it counts the work within for the drain's progress
//	it ends the Stopping contexts, oldest first, pace apart
//	it waits until all have left
//
// It returns nil then, or the cause if ctx ends first.
func (g *Gate) drain(ctx context.Context, pace time.Duration) (late error) {
	g.shut(ctx)
	wire.Count(ctx, g, g.len)
	g.announce(ctx, pace)
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// announce takes half of what remains at most. If ctx ends, it tells the others at
// once.
func (g *Gate) announce(ctx context.Context, pace time.Duration) {
	es := g.unannounced()
	if d, ok := ctx.Deadline(); ok && len(es) > 0 {
		pace = min(pace, time.Until(d)/2/time.Duration(len(es)))
	}
	begin := time.Now()
	for i, e := range es {
		if wait := time.Until(begin.Add(time.Duration(i) * pace)); wait > 0 {
			select {
			case <-g.idle:
				return
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		e.announce()
	}
}

// A closing ends the work of a server's gate for its Step: the server's Stop calls
// close, its Kill calls kill, maybe at the same time.
type closing struct {
	latest atomic.Pointer[stopCall]

	mu  sync.Mutex
	err error // names those who were cut: the first who cuts sees all of them
}

// A stopCall is a call of Stop.
type stopCall struct {
	ctx context.Context
	// grace is a quarter of the time that a plan keeps for Kill: those within get
	// one to say goodbye, the listeners one to close, and those who were cut one to
	// leave.
	grace time.Duration
}

// pace is the time between the ends of two Stopping contexts at most, so that
// clients do not all reconnect in one instant. A few streams need not be spread
// over the whole of a long drain.
const pace = time.Second / 200

// moment is the grace of a Kill that no Stop came before: a stop was forced before
// the phase began, say.
const moment = 50 * time.Millisecond

// begin records a call of Stop.
func (c *closing) begin(ctx context.Context) {
	s := &stopCall{ctx, moment}
	if d, ok := ctx.Deadline(); ok {
		s.grace = min(time.Until(d)/40, time.Second/4)
	}
	c.latest.Store(s)
}

// begun reports whether Stop was called.
func (c *closing) begun() bool { return c.latest.Load() != nil }

// close is for Stop. It returns an error that names those who were cut, by this
// call or by kill.
func (c *closing) close(ctx context.Context, g *Gate) error {
	return c.cut(g, g.drain(ctx, pace))
}

// kill refuses, tells all, gives them a moment to say goodbye, and cuts them.
func (c *closing) kill(g *Gate) {
	why := errKilled
	if s := c.latest.Load(); s != nil && s.ctx.Err() != nil {
		why = context.Cause(s.ctx)
	}
	g.shut(context.Background())
	c.cut(g, why)
}

var errKilled = fmt.Errorf("drain: the server was killed: %w", context.Canceled)

// cut tells those within, and cuts them a grace later. Stop and Kill may both come
// here at the end of Stop's time: the first to cut does it for both. A nil why cuts
// nothing. It returns the error that names those who were cut.
func (c *closing) cut(g *Gate, why error) error {
	if why != nil {
		g.announce(context.Background(), 0)
		c.wait(g.idle)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && why != nil {
		c.err = g.giveUp(why)
	}
	return c.err
}

// wait waits for done, for a grace at most.
func (c *closing) wait(done <-chan struct{}) {
	grace := moment
	if s := c.latest.Load(); s != nil {
		grace = s.grace
	}
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}
