package drain

import (
	"context"
	"fmt"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// An entry is a piece of work that joined a gate, and the context it runs under.
type entry struct {
	context.Context
	gate   *Gate
	name   string
	since  time.Time
	cancel context.CancelCauseFunc // ends the context
	own    bool                    // cancel ends nothing else, so leave calls it

	// Guarded by gate.mu:
	soft context.Context // the Stopping context, made when it is first asked for
	tell context.CancelCauseFunc
	told bool // the Stopping context has ended, or will be made so
	cut  bool // it is in Gate.cut
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
		e.cancel(nil)
	}
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

var errShut = fmt.Errorf("drain: the gate is shut: %w", context.Canceled)

// announce ends the Stopping context.
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
