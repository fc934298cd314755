package lifecycle

import (
	"context"
	"log/slog"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/panics"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// ExitCode returns the exit status for the error that [Group.Run] returned:
//
//	0   nil
//	78  a restart cannot mend it (restart.Permanent): EX_CONFIG of BSD's sysexits.
//	    RestartPreventExitStatus=78 tells systemd so
//	1   any other error, also one that came with a stop
//
// It logs the error once, to slog.Default at Error, with the stack of each panic
// that was not logged when it happened. It gives a handler that blocks a second.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	code := 1
	if wire.IsPermanent(err) {
		code = 78
	}
	attrs := []any{"status", code, "error", err}
	if stack := panics.Unlogged(err); stack != "" {
		attrs = append(attrs, "stack", stack)
	}
	var q logs.Queue
	q.Logger(slog.Default()).ErrorContext(context.Background(), "exit", attrs...)
	q.Flush(time.Now().Add(time.Second))
	return code
}
