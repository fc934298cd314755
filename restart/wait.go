package restart

import (
	"context"
	"log/slog"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/logs"
)

// pause is sleep, announced to the Waits in ctx: what waits, and until when.
func pause(ctx context.Context, what string, d time.Duration) error {
	if d > 0 {
		carried.Wait(ctx, what, time.Now().Add(d))
	}
	return sleep(ctx, d)
}

// sleep waits for d. If ctx ends first, it returns the cause.
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

// warn logs what no caller gets as an error: a wait, or a file that cannot be used.
func warn(ctx context.Context, log *slog.Logger, msg string, args ...any) {
	logs.Loud(log).WarnContext(ctx, msg, args...)
}
