package labels

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
)

// PanicError is documented as lifecycle.PanicError.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// ErrGoexit stands for a function that neither returned nor panicked.
var ErrGoexit = errors.New("called runtime.Goexit")

// Call runs f and hands its error to done, exactly once, however f ends. A
// panic is printed at once, to log or where that is nil to standard error, and
// becomes a *PanicError. A Goexit becomes ErrGoexit and then goes on to end the
// goroutine, so done must not count on Call's return.
func Call(ctx context.Context, log *slog.Logger, name string, f func(context.Context) error, done func(error)) {
	err := ErrGoexit
	defer func() {
		if v := recover(); v != nil {
			p := &PanicError{v, debug.Stack()}
			defer done(p) // also where log's handler panics
			p.print(ctx, log, name)
			return
		}
		done(err)
	}()
	err = f(ctx)
}

// print is a function of its own, as its frame is large: most calls do without
// it, and a goroutine's first stack has room for little more than a kilobyte.
//
//go:noinline
func (e *PanicError) print(ctx context.Context, log *slog.Logger, name string) {
	if log != nil {
		log.ErrorContext(ctx, "panic", "name", name, "error", e, "stack", string(e.Stack))
	} else {
		fmt.Fprintf(os.Stderr, "evenkeel: %s: %v\n%s", name, e, e.Stack)
	}
}
