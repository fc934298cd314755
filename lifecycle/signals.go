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

// A SignalError is the cause of a context that a signal ended. It matches
// context.Canceled.
type SignalError struct {
	Signal os.Signal
	Time   time.Time // when it was received
}

func (e *SignalError) Error() string { return "signal: " + e.Signal.String() }

func (e *SignalError) Is(target error) bool { return target == context.Canceled }

// WithSignals returns a context that ends when the first of the signals arrives,
// with the cause [*SignalError], or when ctx ends. The second signal forces a
// [Group] that drains under this context. The third kills the process as if it
// had never caught the signal: the exit status is 128 + the signal's number, or
// 2 if the process is PID 1 of its namespace.
//
// A signal counts if it arrives 100 ms or more after the one that counted before,
// so a Ctrl-C that a wrapper doubles counts once. Go tells a program what arrived,
// not when. If goroutines wait for a CPU that long, signals that were sent apart
// arrive together; then one of them is taken for a double, and each further one
// counts. Go also merges signals of one kind that arrive before the hook runs, so
// a program that is starved of CPU may need more than three.
//
// Without sigs it catches SIGINT, SIGTERM and SIGHUP, except those that were
// ignored when the process started, as SIGHUP is under nohup, and SIGINT in the
// background of a shell script. It warns of an ignored SIGINT by a line to
// slog.Default: name the signals here to catch them all the same. To use SIGHUP for
// reloading, name the others here and call signal.Notify for SIGHUP.
//
// The hook only records: no code of yours, no log line and no I/O runs in it.
// Call it first in main, so that a signal during start-up counts.
//
// The stop function ends the context, waits for the hook's goroutine and leaves
// the signals as they were before. No signal is lost: one that arrives before
// still ends the context with its cause, one that arrives after has its default
// effect. You may call stop more than once.
func WithSignals(ctx context.Context, sigs ...os.Signal) (context.Context, context.CancelFunc) {
	deaf := false
	if len(sigs) == 0 {
		for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			if !signal.Ignored(s) {
				sigs = append(sigs, s)
			} else if s == syscall.SIGINT { // SIGHUP is what nohup is for; Go heeds no other
				deaf = true
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
		close(c) // Stop has put into it what arrived before
		<-done
		f.end(nil)
	})
}

// hook raises the flag for the signals from c, until c is closed, and calls kill
// at the third. The function late reports whether goroutines wait so long that
// the time at which a signal is received says little.
func (f *Flag) hook(c <-chan os.Signal, late func() bool, kill func(os.Signal)) {
	doubled := false // since the last signal that counted by its time, one did not count
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
