package drain

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/count"
)

// A Gate admits work until it is shut. Drain shuts it and waits for the work that it
// admitted. Use [Gate.Join] for work that should know of the stop, and be named if it
// does not end. Use [Gate.Enter] if counting is enough.
//
// The zero Gate is open. A Gate must not be copied after first use. Its methods may be
// called concurrently.
type Gate struct {
	// Recorder, if not nil, records the sessions of the work that is within. Set it
	// before first use.
	Recorder Recorder

	within count.Count
	until  atomic.Pointer[time.Time] // the deadline of the latest drain

	mu          sync.Mutex
	first, last *entry        // a list of the work that joined and has not left, oldest first
	idle        chan struct{} // made when the gate is shut; closed when it is also empty
	empty       bool          // idle is closed
	cutNames    []string      // what Cut returns
	why         error         // the cause of the latest drain that gave up; nil before
}

// A Recorder records which sessions are within a [Gate], for the case that the process
// dies. It must be safe for concurrent use, and quick: it is called for each request.
type Recorder interface {
	// Enter records that work of the session was admitted. It returns where, or 0 if
	// it has not recorded it.
	Enter(session string) (slot uint32)

	// Leave is called once for each slot that is not 0, when the work leaves: before a
	// Drain that waits for it returns. For an HTTP/1 request of a [Server] it is called
	// later, when its answer is written.
	Leave(slot uint32)
}

// Enter admits a piece of work, or returns false if the gate is shut. After true the
// caller must call Leave exactly once.
func (g *Gate) Enter() bool {
	if g.within.Enter() {
		return true
	}
	if n, _ := g.within.Leave(); n == 0 {
		g.emptied()
	}
	return false
}

// Leave ends a piece of work that Enter admitted. Without one it panics, and the count
// stays at zero.
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

// emptied records that the count of the shut gate fell to zero. The last to leave calls
// it, or an Enter that was refused and took back its count after that.
func (g *Gate) emptied() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.empty {
		g.empty = true
		close(g.idle)
	}
}

// Join admits a piece of work like Enter, and gives it a name and a context. After true
// the caller must call leave; further calls of leave do nothing. After false ctx is
// returned as it is, and leave does nothing.
//
// [Stopping] of the returned context ends when the gate is shut: finish then. The
// context itself ends when a Drain gives up waiting, whose error has the name.
func (g *Gate) Join(ctx context.Context, name string) (_ context.Context, leave func(), ok bool) {
	return g.JoinSession(ctx, name, "")
}

// JoinSession is Join for work of a session: a user, a conversation, a job. The gate's
// Recorder gets the session, and Cut returns it in place of the name. If session is
// empty, JoinSession is Join.
func (g *Gate) JoinSession(ctx context.Context, name, session string) (_ context.Context, leave func(), ok bool) {
	e := &entry{name: name, session: session, since: time.Now()}
	if !g.join(ctx, e) {
		return ctx, func() {}, false
	}
	return e, e.leave, true
}

// join admits e, whose name and since are set. If e.cancel is set too, it already ends
// ctx, and leave does not call it.
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
	g.linkLocked(e)
	e.announced = g.idle != nil // it entered while the gate was being shut, after the others were announced
	why := g.why
	if why != nil {
		g.recordCutLocked(e)
	}
	g.mu.Unlock()
	if why != nil {
		e.cancel(why)
	}
	if g.Recorder != nil && e.session != "" {
		e.slot = g.Recorder.Enter(e.session)
	}
	return true
}

// Drain shuts the gate, ends the [Stopping] contexts of the work that joined, and waits
// until all work has left. If ctx ends first, Drain gives up: it cancels the contexts
// of the work that joined, and returns an error that names it, oldest first, and wraps
// the cause of ctx.
//
// Drain may be called again, to wait longer, and concurrently. It fits [Step.Stop].
func (g *Gate) Drain(ctx context.Context) error {
	if why := g.drain(ctx, 0); why != nil {
		return g.giveUp(why)
	}
	return nil
}

// Cut returns the sessions of the work that a Drain gave up on, oldest first. Work
// without a session has its name there.
func (g *Gate) Cut() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.cutNames)
}

// recordCutLocked adds e to what Cut returns, once.
func (g *Gate) recordCutLocked(e *entry) {
	if !e.named {
		e.named = true
		g.cutNames = append(g.cutNames, cmp.Or(e.session, e.title()))
	}
}

// shut makes the gate refuse work. The deadline of ctx becomes that of the Stopping
// contexts.
func (g *Gate) shut(ctx context.Context) {
	if d, ok := ctx.Deadline(); ok {
		g.until.Store(&d)
	}
	g.mu.Lock()
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	g.mu.Unlock()
	if g.within.Shut() <= 0 { // below zero, a Leave without an Enter is about to add one
		g.emptied()
	}
}

// unannounced returns the work that joined and does not know of the stop, oldest first.
// Work that has not asked for Stopping yet is left out: it will find it ended.
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

// len returns the amount of work within.
func (g *Gate) len() int {
	n, _ := g.within.Within()
	return n
}

// giveUp cancels the contexts of the work in the shut gate, and returns an error that
// names it. If all work has left meanwhile, it returns nil. The count in the error
// may include an Enter that is being refused.
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
