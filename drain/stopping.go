package drain

import (
	"context"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// Stopping returns a context that ends when the owner of ctx begins to stop,
// while ctx itself stays alive until the owner runs out of patience. It is for
// work that never ends by itself: a stream, a long poll, a consumer's wait for
// its next message.
//
// In the context of a [Gate.Join] or of a request to a [Server] it ends when
// the gate is shut, and its deadline is then the drain's. In the context of a
// lifecycle.Group's task it ends when the group begins to stop. Elsewhere
// nobody announces a stop, and Stopping returns ctx itself.
//
// It has the values of ctx, and ends with ctx at the latest.
func Stopping(ctx context.Context) context.Context {
	s, ok := ctx.Value(wire.SoftKey).(wire.Soft)
	if !ok {
		return ctx
	}
	soft, owner := s.Soft()
	if done := ctx.Done(); done == nil || done == owner.Done() {
		return &told{soft, ctx}
	}
	// ctx may end by itself. Both registrations go when it does.
	both, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(soft, func() { cancel(context.Cause(soft)) })
	context.AfterFunc(ctx, func() { forget() })
	return both
}

// told is a soft context with the values of another one.
type told struct {
	context.Context
	values context.Context
}

// Value leaves to the soft context what package context asks its own contexts by
// a key of this type: who ends, and why. Without it, context.Cause would answer
// for the other one.
func (t *told) Value(key any) any {
	if _, ok := key.(*int); ok {
		return t.Context.Value(key)
	}
	return t.values.Value(key)
}
