// Package panics runs functions that may panic, and makes errors of their panics.
package panics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Err is matched by errors.Is of a panic's error, of any type.
var Err = errors.New("panic")

// An Error is a recovered panic, in a package that does not import drain. Elsewhere it
// is a drain.PanicError.
type Error struct {
	Value  any
	Stack  []byte
	Logged bool
}

func (e *Error) Error() string        { return fmt.Sprintf("panic: %v", e.Value) }
func (e *Error) Is(target error) bool { return target == Err }

// A pointer is an error that is a *E.
type pointer[E any] interface {
	*E
	error
}

// ErrGoexit stands for a function that neither returned nor panicked.
var ErrGoexit = errors.New("called runtime.Goexit")

// Call runs f and passes its error to done, exactly once, however f ends:
//
//	f returns   done gets what it returned
//	f panics    done gets an *E. If log is not nil, the panic is logged first, with
//	            its stack: pass nil if the caller receives the error
//	f exits     done gets ErrGoexit, and the goroutine ends. Call does not return
func Call[E ~struct {
	Value  any
	Stack  []byte
	Logged bool
}, P pointer[E]](ctx context.Context, log *slog.Logger, name string, f func(context.Context) error, done func(error)) {
	err := ErrGoexit
	defer func() {
		if v := recover(); v != nil {
			stack := debug.Stack()
			p := P(&E{v, stack, log != nil})
			defer done(p) // even if log's handler panics
			if log != nil {
				logPanic(ctx, log, name, p, stack)
			}
			return
		}
		done(err)
	}()
	err = f(ctx)
}

// logPanic is a separate function because its frame is large: most calls do not need
// it, and a goroutine's first stack has room for little more than a kilobyte.
//
//go:noinline
func logPanic(ctx context.Context, log *slog.Logger, name string, err error, stack []byte) {
	log.ErrorContext(ctx, "panic", "name", name, "error", err, "stack", string(stack))
}
