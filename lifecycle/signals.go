package lifecycle

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A SignalError is the cause of a context that a signal ended. errors.Is reports that
// it is context.Canceled.
type SignalError struct {
	Signal os.Signal
	Time   time.Time // when it was received
}

func (e *SignalError) Error() string { return "signal: " + e.Signal.String() }

func (e *SignalError) Is(target error) bool { return target == context.Canceled }

// WithSignals returns a context that ends when a signal arrives or when ctx ends. Call
// it first in main, so that a signal during start-up counts, and pass the context to
// [Group.Run]. Then
//
//   - the first signal ends the context with the cause [*SignalError]: the group drains
//   - the second forces the drain
//   - the third kills the process as if it had never caught the signal. Its exit status
//     is 128 + the signal's number, or 2 if it is PID 1 of its namespace
//
// Without sigs it catches SIGINT, SIGTERM and SIGHUP, except those that were ignored
// when the process started: SIGHUP under nohup, SIGINT in the background of a shell
// script. If SIGINT was ignored, it logs a warning to slog.Default. To catch a signal
// even if it was ignored, name it. To reload on SIGHUP, name the other signals and
// call signal.Notify for SIGHUP.
//
// The stop function ends the context, waits for the hook's goroutine and restores the
// signals. No signal is lost: one that arrives before still ends the context with
// its cause, and one that arrives later has its default effect. stop may be called
// more than once.
//
// A signal within 100 ms of the last one that counted does not count, as wrappers
// often double a Ctrl-C. On a machine without a free CPU, signals that were sent
// apart may reach the program together. Then one is taken for a double, and each
// further one counts. Go also merges signals of one kind that wait, so such a program
// may need more than three. The hook only records: it runs no code of yours, no
// logging and no I/O.
func WithSignals(ctx context.Context, sigs ...os.Signal) (context.Context, context.CancelFunc) {
	deaf := false
	if len(sigs) == 0 {
		for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			if !signal.Ignored(s) {
				sigs = append(sigs, s)
			} else if s == syscall.SIGINT { // nohup ignores SIGHUP on purpose; Go honours no other inherited ignore
				deaf = true
			}
		}
	}
	ctx, f := WithFlag(ctx)
	// One channel, registered before anything starts, and for good: a second
	// registration would lose a signal that arrives between the two.
	c := make(chan os.Signal, 64)
	if len(sigs) > 0 { // Notify without signals would catch all
		signal.Notify(c, sigs...)
	}
	if deaf {
		slog.WarnContext(ctx, "signal ignored", "signal", syscall.SIGINT.String(),
			"remedy", "the program was started so, as in a script's background; name the signals in WithSignals to catch it")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.hook(c, late, die)
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(c)
		close(c) // Stop has put all signals that arrived before into it
		<-done
		f.end(nil)
	})
}

// hook raises the flag for each signal from c until c is closed, and calls kill at
// the third that counts. late reports whether goroutines wait so long for a CPU that
// the time of a receive says little about the time of the signal.
func (f *Flag) hook(c <-chan os.Signal, late func() bool, kill func(os.Signal)) {
	doubled := false // a signal did not count since the last that counted by its time
	for s := range c {
		now := time.Now()
		why := &SignalError{s, now}
		stage := f.raise(now, apart, why)
		switch {
		case stage != calm:
			doubled = false
		case doubled && late():
			stage = f.raise(now, 0, why)
		default:
			doubled = true
		}
		if stage == lethal {
			kill(s)
		}
	}
}

// late measures how long a goroutine waits for its turn.
func late() bool {
	begin := time.Now()
	runtime.Gosched()
	return time.Since(begin) >= apart
}
