package drain

import (
	"context"
	"fmt"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// An entry is a piece of work that joined a gate, and the context it runs under.
type entry struct {
	context.Context
	gate    *Gate
	name    string
	path    string // of a request that Server.Name does not name. Most titles are never used, so none is made ahead
	session string
	slot    uint32 // in Gate.Recorder, 0 if none
	since   time.Time
	cancel  context.CancelCauseFunc // ends the context
	own     bool                    // cancel ends this context only, so leave calls it

	// Guarded by gate.mu:
	prev, next *entry          // in the gate's list
	within     bool            // it is in that list
	soft       context.Context // the Stopping context, made when Soft is first called
	endSoft    context.CancelCauseFunc
	announced  bool // the Stopping context has ended, or will have when it is made
	named      bool // its title is in Gate.cutNames
}

// title returns the name for errors.
func (e *entry) title() string {
	if e.path == "" {
		return e.name
	}
	return e.name + " " + e.path
}

func (g *Gate) linkLocked(e *entry) {
	e.within, e.prev = true, g.last
	if g.last == nil {
		g.first = e
	} else {
		g.last.next = e
	}
	g.last = e
}

// unlinkLocked reports whether e was in the list.
func (g *Gate) unlinkLocked(e *entry) bool {
	if !e.within {
		return false
	}
	if e.prev == nil {
		g.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		g.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.within, e.prev, e.next = false, nil, nil
	return true
}

// leave takes e out of the gate. Further calls do nothing.
func (e *entry) leave() {
	g := e.gate
	g.mu.Lock()
	left := g.unlinkLocked(e)
	g.mu.Unlock()
	if !left {
		return
	}
	if e.slot != 0 {
		g.Recorder.Leave(e.slot)
	}
	g.Leave()
	if e.own {
		e.cancel(nil)
	}
}

func (e *entry) Value(key any) any {
	if key == carried.SoftKey {
		return e
	}
	return e.Context.Value(key)
}

// Soft implements [carried.Soft].
func (e *entry) Soft() (soft, owner context.Context) {
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	if e.soft == nil {
		ctx, end := context.WithCancelCause(context.Context(e))
		e.soft, e.endSoft = softContext{ctx, e.gate}, end
		if e.announced {
			end(errShut)
		}
	}
	return e.soft, e
}

var errShut = fmt.Errorf("drain: the gate is shut: %w", context.Canceled)

// announce ends the Stopping context.
func (e *entry) announce() {
	e.gate.mu.Lock()
	e.announced = true
	end := e.endSoft
	e.gate.mu.Unlock()
	if end != nil {
		end(errShut)
	}
}

// A softContext is an entry's Stopping context. Its deadline is not known before the
// gate is shut, so Deadline looks it up each time.
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
