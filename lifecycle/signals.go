package lifecycle

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// A SignalError is the cause of a context that a signal ended. It matches
// context.Canceled.
type SignalError struct {
	Signal os.Signal
	Time   time.Time // when it was received
}

func (e *SignalError) Error() string { return "signal: " + e.Signal.String() }

func (e *SignalError) Is(target error) bool { return target == context.Canceled }

// WithSignals returns a context that ends with the cause [*SignalError] at the
// first of the signals, or when ctx ends. The second one, at least 100 ms later,
// forces a [Group] that drains under this context. The third, at least 100 ms
// after the second, kills the process as if nobody had caught it, however
// wedged the program is: exit status 128 + its number, or 2 where the process
// is PID 1 of its namespace.
//
// Without sigs it catches SIGINT, SIGTERM and SIGHUP, less those that were
// ignored when the process started, as under nohup and in a shell's background.
// To use SIGHUP for reloading, name the signals here and call signal.Notify for
// SIGHUP.
//
// The hook only records: no code of yours, no log line and no I/O runs in it.
// Call it first in main, so that a signal during start-up counts.
//
// The stop function ends the context, waits for the hook's goroutine and leaves
// the signals as they were before; it may be called more than once.
func WithSignals(ctx context.Context, sigs ...os.Signal) (context.Context, context.CancelFunc) {
	if len(sigs) == 0 {
		for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			if !signal.Ignored(s) {
				sigs = append(sigs, s)
			}
		}
	}
	ctx, f := WithFlag(ctx)
	// One channel, registered before anything starts and kept for life: a
	// second registration would lose what comes between the two.
	c := make(chan os.Signal, 64)
	if len(sigs) > 0 { // Notify without signals means all of them
		signal.Notify(c, sigs...)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case s := <-c:
				now := time.Now()
				if f.raise(now, &SignalError{s, now}) == lethal {
					// Not at the second: Reset takes the signal from
					// everybody in the process.
					signal.Reset(s)
					die(s)
				}
			case <-quit:
				return
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(c)
		close(quit)
		<-done
		f.end(nil)
	})
}
