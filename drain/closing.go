package drain

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// drain closes the gate, without force:
//
//	it refuses new work
//	it adds the work within to the plan's progress
//	it ends the Stopping contexts, oldest first, pace apart
//	it waits until all work has left
//
// It returns nil then, or the cause of ctx if that ends first.
func (g *Gate) drain(ctx context.Context, pace time.Duration) (late error) {
	g.shut(ctx)
	carried.Count(ctx, g, g.len)
	g.announce(ctx, pace)
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// announce ends the Stopping contexts, in half of the remaining time at most. If ctx
// ends, it ends the rest at once.
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

// A closing is what a Server and a Graceful share: the end of the work in the gate.
// Stop calls begin and close, Kill calls kill, and the two may run at the same time.
type closing struct {
	latest atomic.Pointer[stopCall]

	mu  sync.Mutex
	err error // names the work that was cut: all of it is seen by the first call that cuts
}

// A stopCall is one call of a step's Stop.
type stopCall struct {
	ctx context.Context
	// grace is a quarter of the time that a plan keeps for Kill. Kill waits for it up
	// to three times: for streams to say goodbye, for the listeners to close, and for
	// handlers to return after they were cut.
	grace time.Duration
}

// pace is the time between the ends of two Stopping contexts at most, so that clients
// do not all reconnect in one instant. It is short, so that a few streams do not wait
// for half of a long drain.
const pace = time.Second / 200

// moment is the grace of a Kill without a Stop before it: for example, the plan was
// forced before the phase began.
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

// close waits for the work, for Stop. Its error names the work that was cut, by this
// call or by kill.
func (c *closing) close(ctx context.Context, g *Gate) error {
	return c.cut(g, g.drain(ctx, pace))
}

// kill refuses new work and cuts what is within, for Kill. It returns an error if there
// was any.
func (c *closing) kill(g *Gate) error {
	why := errKilled
	if s := c.latest.Load(); s != nil && s.ctx.Err() != nil {
		why = context.Cause(s.ctx)
	}
	g.shut(context.Background())
	return c.cut(g, why)
}

var errKilled = fmt.Errorf("drain: the server was killed: %w", context.Canceled)

// cut ends the Stopping contexts, and cuts what is still within a grace later. It
// returns an error that names it. Stop and Kill may both call it at the end of Stop's
// time: the first to cut does it for both. If why is nil, it only returns the error.
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

// wait waits for done, but not longer than a grace.
func (c *closing) wait(done <-chan struct{}) {
	grace := moment
	if s := c.latest.Load(); s != nil {
		grace = s.grace
	}
	select {
	case <-done:
	case <-time.After(grace):
	}
}
