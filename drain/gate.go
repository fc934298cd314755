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

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// A Gate admits work until it is shut, then waits for the work it admitted.
//
// The zero Gate is open. It must not be copied after first use. Its methods
// may be called concurrently.
type Gate struct {
	// word is twice the number within, plus one once shut. Enter adds first
	// and undoes where it came too late: one atomic operation for a request,
	// where a loop of compare-and-swap would cost more under contention.
	word  atomic.Int64
	until atomic.Pointer[time.Time] // the latest drain's deadline

	mu    sync.Mutex
	in    map[*entry]struct{} // joined, not left
	idle  chan struct{}       // made when the gate is shut
	empty bool                // idle is closed: shut, and nobody within
	cut   []string            // joined when a drain gave up
	lost  error               // why one has
}

// Enter reports whether the caller may start a piece of work.
// After a true result the caller must call Leave exactly once.
func (g *Gate) Enter() bool {
	if g.word.Add(2)&1 == 0 {
		return true
	}
	g.undo()
	return false
}

// undo takes back an Enter that came too late. The count may be below zero then,
// where a Leave without an Enter is about to put it right and panic.
func (g *Gate) undo() {
	if g.word.Add(-2) == 1 {
		g.emptied()
	}
}

// Leave ends a piece of work that Enter admitted. It panics where nobody is
// within, and leaves the count at zero.
func (g *Gate) Leave() {
	if n := g.word.Add(-2); n == 1 || n < 0 {
		g.left(n)
	}
}

func (g *Gate) left(n int64) {
	if n < 0 {
		g.word.Add(2)
		panic("drain: Gate.Leave without Enter")
	}
	g.emptied()
}

// emptied is called by whoever takes the shut gate's count to zero: the last
// to leave, or a refused Enter that undid its step after that.
func (g *Gate) emptied() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.empty {
		g.empty = true
		close(g.idle)
	}
}

// Join is Enter for work that should be told of the stop and named if it does
// not end: [Stopping] of the context it returns ends when the gate is shut, and
// the context itself when a Drain gives up waiting. After a true result the
// caller must call leave, once or more. After a false one leave does nothing.
func (g *Gate) Join(ctx context.Context, name string) (_ context.Context, leave func(), ok bool) {
	e := &entry{name: name}
	if !g.join(ctx, e) {
		return ctx, func() {}, false
	}
	return e, e.leave, true
}

// join admits e, which has a name, and a cut where something else than leave
// ends ctx.
func (g *Gate) join(ctx context.Context, e *entry) bool {
	if !g.Enter() {
		return false
	}
	e.Context, e.gate = ctx, g
	if e.cut == nil {
		e.Context, e.cut = context.WithCancelCause(ctx)
		e.own = true
	}
	g.mu.Lock()
	e.since = time.Now() // under the lock, so that Cut is in this order
	if g.in == nil {
		g.in = make(map[*entry]struct{})
	}
	g.in[e] = struct{}{}
	e.told = g.idle != nil // it entered as the gate was shut, and the others were told
	lost := g.lost
	if lost != nil {
		g.cutLocked(e)
	}
	g.mu.Unlock()
	if lost != nil {
		e.cut(lost)
	}
	return true
}

func (g *Gate) cutLocked(e *entry) {
	if !e.lost {
		e.lost = true
		g.cut = append(g.cut, e.name)
	}
}

// leave may be called more than once.
func (e *entry) leave() {
	g := e.gate
	g.mu.Lock()
	_, within := g.in[e]
	delete(g.in, e)
	g.mu.Unlock()
	if !within {
		return
	}
	g.Leave()
	if e.own {
		e.cut(nil)
	}
}

// Drain shuts the gate, announces it to all who joined, and waits until
// everybody has left. Where ctx ends first, it cancels the contexts of those who
// joined and returns an error that names them, longest first, and wraps ctx's
// cause. It may be called again, to wait longer, and by several at once.
//
// Drain fits [Step.Stop].
func (g *Gate) Drain(ctx context.Context) error {
	g.shut(ctx)
	for _, e := range g.listeners() {
		e.announce()
	}
	return g.wait(ctx)
}

// Cut names the work that a Drain gave up on, in the order of its beginning.
func (g *Gate) Cut() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.cut)
}

// shut refuses whoever comes from now on.
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
	if g.word.Or(1) <= 0 { // below zero: a Leave without an Enter is about to put it right
		g.empty = true
		close(g.idle)
	}
}

// listeners returns those who joined and were not told yet, oldest first. One
// who calls Stopping only now finds it ended.
func (g *Gate) listeners() []*entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	var es []*entry
	for e := range g.in {
		if e.soft == nil {
			e.told = true
		} else if !e.told {
			es = append(es, e)
		}
	}
	slices.SortFunc(es, older)
	return es
}

// wait ends when nobody is within the shut gate, or with ctx.
func (g *Gate) wait(ctx context.Context) error {
	wire.Count(ctx, g, g.within)
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
		return g.giveUp(context.Cause(ctx))
	}
}

func (g *Gate) within() int { return int(g.word.Load() >> 1) }

// giveUp names those who are still within the shut gate, and ends their
// contexts. A drain that is over is not late, whatever ctx says; within counts an
// Enter that is being refused.
func (g *Gate) giveUp(why error) error {
	g.mu.Lock()
	within := g.within()
	if g.empty || within == 0 {
		g.mu.Unlock()
		return nil
	}
	g.lost = why
	var es []*entry
	for e := range g.in {
		es = append(es, e)
	}
	slices.SortFunc(es, older)
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.name
		g.cutLocked(e)
	}
	g.mu.Unlock()
	for _, e := range es {
		e.cut(why)
	}
	const most = 8
	for i := range names[:min(len(names), most)] {
		names[i] += " " + time.Since(es[i].since).Round(time.Millisecond).String()
	}
	if n := len(names) - most; n > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", n))
	}
	if len(names) > 0 {
		return fmt.Errorf("drain: %d still in (%s): %w", within, strings.Join(names, ", "), why)
	}
	return fmt.Errorf("drain: %d still in: %w", within, why)
}

// A loss names who was cut. Stop and Kill come at one time, so they take turns:
// the second would name only those who have not left yet.
type loss struct {
	mu  sync.Mutex
	err error
}

// cut cuts those within, unless somebody has, and returns who was cut. A nil why
// cuts nobody.
func (l *loss) cut(g *Gate, why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && why != nil {
		l.err = g.giveUp(why)
	}
	return l.err
}

var errShut = fmt.Errorf("drain: the gate is shut: %w", context.Canceled)

// An entry is a piece of work that joined, and the context it runs under.
type entry struct {
	context.Context
	gate  *Gate
	name  string
	since time.Time
	cut   context.CancelCauseFunc // ends the context
	own   bool                    // and nothing else, so leave calls it

	// Guarded by gate.mu:
	soft context.Context // made when Stopping first asks for it
	tell context.CancelCauseFunc
	told bool // the gate was shut and the entry's turn to know it has come
	lost bool // it is in Gate.cut
}

func older(a, b *entry) int {
	return cmp.Or(a.since.Compare(b.since), strings.Compare(a.name, b.name))
}

func (e *entry) Value(key any) any {
	if key == wire.SoftKey {
		return e
	}
	return e.Context.Value(key)
}

// Soft implements [wire.Soft].
func (e *entry) Soft() (soft, owner context.Context) {
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	if e.soft == nil {
		ctx, tell := context.WithCancelCause(context.Context(e))
		e.soft, e.tell = softContext{ctx, e.gate}, tell
		if e.told {
			tell(errShut)
		}
	}
	return e.soft, e
}

func (e *entry) announce() {
	e.gate.mu.Lock()
	e.told = true
	tell := e.tell
	e.gate.mu.Unlock()
	if tell != nil {
		tell(errShut)
	}
}

// softContext is an entry's Stopping context. Its deadline is known once the gate is
// shut, so it is looked up when asked for.
type softContext struct {
	context.Context
	gate *Gate
}

func (s softContext) Deadline() (time.Time, bool) {
	d, ok := s.Context.Deadline()
	if until := s.gate.until.Load(); until != nil && (!ok || until.Before(d)) {
		return *until, true
	}
	return d, ok
}
