// Package panics runs functions that may panic, and makes errors of their panics.
package panics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// An Error is a recovered panic. drain.PanicError and lifecycle.PanicError are
// names for it. It is here because restart makes and matches it too, and imports
// neither of the two.
type Error struct {
	Value any
	Stack []byte

	logged bool // with its stack, when it happened
}

func (e *Error) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unlogged returns the stacks of the panics in err that were not logged when they
// happened.
func Unlogged(err error) (stacks string) {
	carried.Within(err, func(e error) {
		if p, ok := e.(*Error); ok && !p.logged {
			stacks += string(p.Stack)
		}
	})
	return stacks
}

// ErrGoexit stands for a function that neither returned nor panicked.
var ErrGoexit = errors.New("called runtime.Goexit")

// Call runs f and passes its error to done, exactly once, however f ends:
//
//	f returns   done gets what it returned
//	f panics    done gets an *Error. If log is not nil, the panic is logged first, with
//	            its stack: pass nil if the caller receives the error
//	f exits     done gets ErrGoexit, and the goroutine ends. Call does not return
func Call(ctx context.Context, log *slog.Logger, name string, f func(context.Context) error, done func(error)) {
	err := ErrGoexit
	defer func() {
		if v := recover(); v != nil {
			p := &Error{v, debug.Stack(), log != nil}
			defer done(p) // even if log's handler panics
			if log != nil {
				p.log(ctx, log, name)
			}
			return
		}
		done(err)
	}()
	err = f(ctx)
}

// log is a separate function because its frame is large: most calls do not need
// it, and a goroutine's first stack has room for little more than a kilobyte.
//
//go:noinline
func (e *Error) log(ctx context.Context, log *slog.Logger, name string) {
	log.ErrorContext(ctx, "panic", "name", name, "error", e, "stack", string(e.Stack))
}
