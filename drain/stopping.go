package drain

import (
	"context"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// Stopping returns a context that ends when the owner of ctx begins to stop. ctx
// itself stays alive until the owner stops waiting. It is for work that never ends
// by itself: a stream, a long poll, a consumer's wait for its next message.
//
// In the context of a [Gate.Join], or of a request to a [Server], it ends when the
// gate is shut, and its deadline is then the drain's. In the context of a
// lifecycle.Group's task it ends when the group begins to stop. For any other
// context Stopping returns ctx itself. A *gin.Context is such a one: pass
// c.Request.Context().
//
// It has the values of ctx, ends with ctx at the latest, and has the earlier one of
// the two deadlines.
func Stopping(ctx context.Context) context.Context {
	s, ok := ctx.Value(wire.SoftKey).(wire.Soft)
	if !ok {
		return ctx
	}
	soft, owner := s.Soft()
	if done := ctx.Done(); done == nil || done == owner.Done() {
		return &valued{soft, ctx}
	}
	// ctx may end by itself. Both registrations go when it does.
	both, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(soft, func() { cancel(context.Cause(soft)) })
	context.AfterFunc(ctx, func() { forget() })
	return &sooner{both, soft}
}

// valued is a soft context with the values of another one.
type valued struct {
	context.Context
	values context.Context
}

// Value leaves to the soft context what package context asks its own contexts: who
// ends, and why. Without it, context.Cause would answer for the other one.
func (v *valued) Value(key any) any {
	if key == causeKey() {
		return v.Context.Value(key)
	}
	return v.values.Value(key)
}

// causeKey returns the key by which package context finds its own contexts. The key
// is not exported, so a spy learns it from context.Cause.
var causeKey = sync.OnceValue(func() any {
	ended, end := context.WithCancel(context.Background()) // Cause asks only those
	end()
	s := &spy{Context: ended}
	context.Cause(s)
	return s.key
})

type spy struct {
	context.Context
	key any
}

func (s *spy) Value(key any) any {
	s.key = key
	return nil
}

// sooner is a context that ends with another one too, and knows its deadline.
type sooner struct {
	context.Context
	soft context.Context
}

// Deadline asks both each time: a soft context learns its deadline at the stop.
func (s *sooner) Deadline() (time.Time, bool) {
	own, ok := s.Context.Deadline()
	if soft, isSet := s.soft.Deadline(); isSet && (!ok || soft.Before(own)) {
		return soft, true
	}
	return own, ok
}
