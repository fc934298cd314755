package labels

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// PanicError is documented as lifecycle.PanicError.
type PanicError struct {
	Value any
	Stack []byte

	logged bool // with its stack, when it happened
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unlogged returns the stacks of the panics in err that no log has, or "".
func Unlogged(err error) (stacks string) {
	wire.Within(err, func(e error) {
		if p, ok := e.(*PanicError); ok && !p.logged {
			stacks += string(p.Stack)
		}
	})
	return stacks
}

// ErrGoexit stands for a function that neither returned nor panicked.
var ErrGoexit = errors.New("called runtime.Goexit")

// Call runs f and passes its error to done, exactly once, however f ends. A panic
// becomes a *PanicError. It is also logged at once, with its stack, if log is not
// nil: pass nil if the caller receives the error. A Goexit becomes ErrGoexit and
// then goes on to end the goroutine, so done must not count on Call's return.
func Call(ctx context.Context, log *slog.Logger, name string, f func(context.Context) error, done func(error)) {
	err := ErrGoexit
	defer func() {
		if v := recover(); v != nil {
			p := &PanicError{v, debug.Stack(), log != nil}
			defer done(p) // also if log's handler panics
			if log != nil {
				p.log(ctx, log, name)
			}
			return
		}
		done(err)
	}()
	err = f(ctx)
}

// log is a separate function because of its large frame: most calls do without it, and
// a goroutine's first stack has room for little more than a kilobyte.
//
//go:noinline
func (e *PanicError) log(ctx context.Context, log *slog.Logger, name string) {
	log.ErrorContext(ctx, "panic", "name", name, "error", e, "stack", string(e.Stack))
}
