package restart

import (
	"context"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// pause sleeps, and tells the Waits in ctx what for.
func pause(ctx context.Context, what string, d time.Duration) error {
	if d > 0 {
		wire.Wait(ctx, what, time.Now().Add(d))
	}
	return sleep(ctx, d)
}

// sleep waits for d or for the end of ctx, whose cause it returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
