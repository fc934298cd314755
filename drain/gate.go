package drain

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/count"
)

// A Gate admits work until it is shut, then waits for the work it admitted.
//
// The zero Gate is open. It must not be copied after first use. Its methods
// may be called concurrently.
type Gate struct {
	within count.Count
	until  atomic.Pointer[time.Time] // the deadline of the latest drain

	mu          sync.Mutex
	first, last *entry        // joined, not left: a list, oldest first
	idle        chan struct{} // made when the gate is shut; closed when it is also empty
	empty       bool          // idle is closed
	cutNames    []string      // names of those who had joined when a drain gave up, oldest first
	why         error         // the cause of the latest drain that gave up; nil before
}

// Enter reports whether the caller may start a piece of work.
// After a true result the caller must call Leave exactly once.
func (g *Gate) Enter() bool {
	if g.within.Enter() {
		return true
	}
	if n, _ := g.within.Leave(); n == 0 {
		g.emptied()
	}
	return false
}

// Leave ends a piece of work that Enter admitted. It panics if no work is
// within, and then leaves the count at zero.
func (g *Gate) Leave() {
	if n, shut := g.within.Leave(); n < 0 || n == 0 && shut {
		g.left(n)
	}
}

func (g *Gate) left(n int) {
	if n < 0 {
		g.within.Enter()
		panic("drain: Gate.Leave without Enter")
	}
	g.emptied()
}

// emptied is called by whoever takes the shut gate's count to zero: the last
// to leave, or a refused Enter that undid its step after that.
func (g *Gate) emptied() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.emptiedLocked()
}

func (g *Gate) emptiedLocked() {
	if !g.empty {
		g.empty = true
		close(g.idle)
	}
}

// Join is Enter for work that wants to know of the stop, and that an error should
// name if it does not end. [Stopping] of the context that Join returns ends when
// the gate is shut. The context itself ends when a Drain gives up waiting. After a
// true result the caller must call leave, once or more. After a false one leave
// does nothing.
func (g *Gate) Join(ctx context.Context, name string) (_ context.Context, leave func(), ok bool) {
	e := &entry{name: name}
	if !g.join(ctx, e) {
		return ctx, func() {}, false
	}
	return e, e.leave, true
}

// join admits e, which has a name, and a cancel if something else than leave ends
// ctx.
func (g *Gate) join(ctx context.Context, e *entry) bool {
	if !g.Enter() {
		return false
	}
	e.Context, e.gate = ctx, g
	if e.cancel == nil {
		e.Context, e.cancel = context.WithCancelCause(ctx)
		e.own = true
	}
	g.mu.Lock()
	e.since = time.Now()
	g.linkLocked(e)
	e.announced = g.idle != nil // it entered as the gate was shut, and the others have been told
	why := g.why
	if why != nil {
		g.recordCutLocked(e)
	}
	g.mu.Unlock()
	if why != nil {
		e.cancel(why)
	}
	return true
}

// Drain shuts the gate, ends the [Stopping] contexts of all who joined, and waits
// until all have left. If ctx ends first, Drain cancels the contexts of those who
// joined and returns an error that names them, longest first, and wraps ctx's
// cause. It may be called again, to wait longer, and by several at once.
//
// Drain fits [Step.Stop].
func (g *Gate) Drain(ctx context.Context) error {
	if why := g.drain(ctx, 0); why != nil {
		return g.giveUp(why)
	}
	return nil
}

// Cut names the work that a Drain gave up on, in the order of its beginning.
func (g *Gate) Cut() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.cutNames)
}

// recordCutLocked records once that e was cut.
func (g *Gate) recordCutLocked(e *entry) {
	if !e.named {
		e.named = true
		g.cutNames = append(g.cutNames, e.title())
	}
}

// shut refuses work from now on. Stopping contexts get ctx's deadline.
func (g *Gate) shut(ctx context.Context) {
	if d, ok := ctx.Deadline(); ok {
		g.until.Store(&d)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle != nil {
		return
	}
	g.idle = make(chan struct{})
	if g.within.Shut() <= 0 { // below zero: a Leave without an Enter is about to put it right
		g.emptiedLocked()
	}
}

// unannounced returns those who joined and do not know of the stop yet, oldest first.
// One that has not called Stopping yet counts as told: it will find it ended.
func (g *Gate) unannounced() []*entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	var es []*entry
	for e := g.first; e != nil; e = e.next {
		if e.soft == nil {
			e.announced = true
		} else if !e.announced {
			es = append(es, e)
		}
	}
	return es
}

// len returns how many are within.
func (g *Gate) len() int {
	n, _ := g.within.Within()
	return n
}

// giveUp cancels the contexts of those who are still within the shut gate, and
// returns an error that names them. It returns nil if all have left, whatever why
// says: that drain is not late. The count includes an Enter that is being refused.
func (g *Gate) giveUp(why error) error {
	g.mu.Lock()
	within := g.len()
	if g.empty || within == 0 {
		g.mu.Unlock()
		return nil
	}
	g.why = why
	var es []*entry
	for e := g.first; e != nil; e = e.next {
		es = append(es, e)
		g.recordCutLocked(e)
	}
	g.mu.Unlock()
	for _, e := range es {
		e.cancel(why)
	}
	const most = 8
	var names []string
	for _, e := range es[:min(len(es), most)] {
		names = append(names, e.title()+" "+time.Since(e.since).Round(time.Millisecond).String())
	}
	if n := len(es) - most; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	if len(names) > 0 {
		return fmt.Errorf("drain: %d still in (%s): %w", within, strings.Join(names, ", "), why)
	}
	return fmt.Errorf("drain: %d still in: %w", within, why)
}
