package drain

import (
	"context"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// Stopping returns a context that ends when the owner of ctx begins to stop. ctx itself
// stays alive until the owner stops waiting. Use it for work that has no end, such as
// a stream, a long poll, or a consumer's wait for the next message.
//
// The owner is:
//   - a [Gate] or [Server], for the context of a [Gate.Join] or of a request. It
//     begins to stop when the gate is shut. The deadline of the returned context is
//     the drain's from then on.
//   - a lifecycle.Group, for the context of a task. It begins to stop when the group
//     does.
//
// For any other context Stopping returns ctx. A *gin.Context is one of these: pass
// c.Request.Context() instead.
//
// The returned context has the values of ctx, ends with ctx at the latest, and has the
// earlier of the two deadlines.
func Stopping(ctx context.Context) context.Context {
	s, ok := ctx.Value(carried.SoftKey).(carried.Soft)
	if !ok {
		return ctx
	}
	soft, owner := s.Soft()
	if done := ctx.Done(); done == nil || done == owner.Done() {
		return &valued{soft, ctx}
	}
	// ctx may end before its owner. Then both registrations go.
	both, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(soft, func() { cancel(context.Cause(soft)) })
	context.AfterFunc(ctx, func() { forget() })
	return &sooner{both, soft}
}

// A valued is a soft context with the values of another context.
type valued struct {
	context.Context
	values context.Context
}

// Value asks the soft context for the key that package context uses to find its own
// contexts. Otherwise context.Cause would answer for the other context.
func (v *valued) Value(key any) any {
	if key == causeKey() {
		return v.Context.Value(key)
	}
	return v.values.Value(key)
}

// causeKey returns the key by which package context finds its own contexts. The key is
// not exported, so a spy learns it from context.Cause.
var causeKey = sync.OnceValue(func() any {
	ended, end := context.WithCancel(context.Background()) // Cause asks only contexts that have ended
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

// A sooner is a context that ends with soft at the latest, and knows its deadline.
type sooner struct {
	context.Context
	soft context.Context
}

// Deadline asks both each time, since a soft context learns its deadline at the stop.
func (s *sooner) Deadline() (time.Time, bool) {
	own, ok := s.Context.Deadline()
	if soft, isSet := s.soft.Deadline(); isSet && (!ok || soft.Before(own)) {
		return soft, true
	}
	return own, ok
}
