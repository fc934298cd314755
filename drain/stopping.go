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
// It ends with the context it announces for at the latest, and costs nothing
// to call again.
func Stopping(ctx context.Context) context.Context {
	if s, ok := ctx.Value(wire.SoftKey).(wire.Soft); ok {
		return s.Soft()
	}
	return ctx
}
