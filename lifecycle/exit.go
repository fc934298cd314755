package lifecycle

import (
	"context"
	"log/slog"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/logs"
)

// ExitCode returns the exit status for the error that [Group.Run] returned:
//
//	0   for nil
//	78  for an error that a restart cannot mend (restart.Permanent). It is EX_CONFIG of
//	    BSD's sysexits. With RestartPreventExitStatus=78 systemd does not restart
//	1   for any other error, even one during a stop
//
// It logs the error to slog.Default, at Error, with the stack of each panic that was
// not logged when it happened. It waits for a slow log handler for a second at most.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	code := 1
	if carried.IsPermanent(err) {
		code = 78
	}
	attrs := []any{"status", code, "error", err}
	if stack := unlogged(err); stack != "" {
		attrs = append(attrs, "stack", stack)
	}
	var q logs.Queue
	q.Logger(slog.Default()).ErrorContext(context.Background(), "exit", attrs...)
	q.Flush(time.Now().Add(time.Second))
	return code
}

// unlogged returns the stacks of the panics in err that were not logged when they
// happened.
func unlogged(err error) (stacks string) {
	carried.Within(err, func(e error) {
		if p, ok := e.(*PanicError); ok && !p.Logged {
			stacks += string(p.Stack)
		}
	})
	return stacks
}
