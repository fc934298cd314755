package restart

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/logs"
)

// A Register is a value with compare-and-swap, kept by an engine that all machines
// reach. It holds the record of one [Lease]. [Postgres] makes one. Package
// restart/leasetest has one in memory, and a test for your own.
//
// A version identifies one state of the value, and no version is used twice. So the
// record must never be deleted, and the engine must not lose it in a failover. "" is
// the version of a value that was never set.
//
// A Lease calls the methods concurrently. They should return when ctx ends. A Get may
// return an older state, which costs the lease time and nothing else. An error that is
// marked as [Permanent] ends the wait for the lease. If the Register has a String
// method, errors, log lines and the status name the lease by it.
type Register interface {
	// Get returns the value and its version. A value that was never set is no error.
	Get(ctx context.Context) (value []byte, version string, err error)

	// Set replaces the value if its version is still this one, and returns the new
	// version. If the version is another, Set changes nothing and returns an error
	// that wraps ErrChanged. Any other error leaves open whether the value was set.
	Set(ctx context.Context, value []byte, version string) (string, error)
}

// ErrChanged is what a [Register] returns if the value has another version than Set
// expected.
var ErrChanged = errors.New("restart: the register has another version")

// ErrLeaseLost is within the error of a function that lost its [Lease]. A [Policy]
// runs the function again without raising its level.
var ErrLeaseLost = errors.New("lease lost")

// A Lease lets only one process at a time do something, on any number of machines. A
// [Lock] does so on one machine, and needs no engine.
//
//	lease := &restart.Lease{Register: restart.Postgres(db, "leases", "poller")}
//	g.Go("poll", policy.Wrap(lease.Wrap(poll)))
//
// The holder renews its term each tenth of TTL. These are the times of a term, with the
// default TTL:
//
//	renewed, and polled by waiters     each TTL / 10           1.5 s
//	a call to the Register times out   after TTL / 5           3 s
//	f's context ends                   TTL / 4 before the end  11.25 s after a renewal
//	the term ends                      TTL after a renewal     15 s
//
// A renewal counts from when it was sent. A waiter counts from when it first saw a
// version of the record. All these are times of one clock of one machine, which cannot
// be set and goes on while the machine sleeps. On Linux it is CLOCK_BOOTTIME.
//
//   - After an orderly stop, the next holder begins within TTL / 10 of f's return, and
//     the time of two calls to the Register.
//   - After the holder died, it begins within TTL and TTL / 10.
//   - If the engine is away for TTL / 2, the holder keeps its lease.
//
// A process can be paused at any instruction: by SIGSTOP, by its hypervisor, by a
// laptop's lid. If it was about to write, it writes when it goes on, and another
// process may hold the lease by then. So give the term to what you write to, and let
// it refuse a term lower than one that it has seen. The example shows that for
// Postgres. What cannot compare terms, such as an API with polls, may get this one late
// call.
//
// The zero TTL works. All methods may be called concurrently.
type Lease struct {
	// Register keeps the record. All processes that exclude each other share it.
	Register Register
	// TTL is how long a term lasts after its last renewal. The processes may have
	// different ones. 0 means 15 s. It is at least 100 ms.
	TTL time.Duration
	// Left counts the work that f still has to end. The record of a draining holder
	// has the count, for people and for the Status of a waiter. It must be safe for
	// concurrent use. Nil means that the count is not known.
	Left func() int
	// Logger gets a warning for each holder that a process waits for, for a Register
	// that fails, and for a lease that could not be released; and a line when the
	// lease is held and when it is released. Nil means slog.Default, from Warn on.
	Logger *slog.Logger

	up func() (time.Duration, bool) // nil: uptime
}

// Wrap returns a function that waits for the lease, runs f while it holds it, releases
// it when f has returned, and returns what f returned. It fits lifecycle.Group.Go and
// [Policy.Wrap]. term is the fencing token: each term is greater than all before.
//
// While it waits, the Status of a lifecycle.Group names the holder. A Register that
// fails does not end the wait. If ctx ends, the function returns its cause. If only
// drain.Stopping of ctx ends, as a process that stops takes no new work, it returns
// nil without running f.
//
// While f runs, the lease is renewed until f has returned, even after the end of ctx.
//
// The lease is lost if no renewal succeeds in time, or if another process has it. Then
// f's context ends, with a cause that wraps [ErrLeaseLost]. Each call of its Err and
// Done looks at the clock, so after a pause it has ended at the first look. f must
// return within TTL / 4; a drain.Plan that runs with f's context ends in time.
//
//   - If f returns in time, the function returns an error that wraps ErrLeaseLost,
//     and f's error too if that says more.
//   - Otherwise it returns an error that names f and is marked as permanent, so the
//     group stops. The lease is not released. f's goroutine ends when f returns.
//
// If a field is not valid, or the Register holds another value than a lease's, the
// function returns an error marked as permanent. A nil f panics.
func (l *Lease) Wrap(f func(ctx context.Context, term uint64) error) func(context.Context) error {
	if f == nil {
		panic("restart: Lease.Wrap: nil function")
	}
	if err := l.validate(); err != nil {
		return func(context.Context) error { return Permanent(err) }
	}
	return func(ctx context.Context) error {
		t := l.newTerm()
		end, err := t.acquire(ctx)
		switch err {
		case nil:
			return t.hold(ctx, end, f)
		case errNotNeeded:
			return nil
		}
		return err
	}
}

func (l *Lease) validate() error {
	switch {
	case l.Register == nil:
		return errors.New("restart: Lease: Register is nil; use restart.Postgres or another one")
	case l.TTL < 0 || l.TTL > 0 && l.TTL < 100*time.Millisecond:
		return fmt.Errorf("restart: Lease: TTL: %v is less than 100ms; 0 means 15s", l.TTL)
	}
	return nil
}

// name is the lease in errors, log lines and the status.
func (l *Lease) name() string {
	if s, ok := l.Register.(fmt.Stringer); ok {
		return "lease " + s.String()
	}
	return "lease"
}

// A term is one run of Wrap's function. The first group of fields does not change. Only
// one goroutine at a time uses the others.
type term struct {
	lease *Lease
	log   *slog.Logger
	ttl   time.Duration
	began time.Time
	up    time.Duration // uptime when it began

	record  leaseRecord // as it was acquired
	version string      // the record's
	certain bool        // the last Set succeeded, so only another process can have changed the version
}

func (l *Lease) newTerm() *term {
	t := &term{lease: l, log: logs.Loud(l.Logger), ttl: l.TTL, began: time.Now()}
	if t.ttl == 0 {
		t.ttl = 15 * time.Second
	}
	t.up = t.uptime()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	t.record = newLeaseRecord(fmt.Sprintf("%s, pid %d", host, os.Getpid()), t.ttl)
	return t
}

func (t *term) uptime() time.Duration {
	read := uptime
	if t.lease.up != nil {
		read = t.lease.up
	}
	up, _ := read() // a system without it has a Go clock that does not stop
	return up
}

// now is the time since t began. Go's clock stops while a Linux machine sleeps. The
// machine's is not that of a test with testing/synctest. So the later one counts.
func (t *term) now() time.Duration {
	return max(time.Since(t.began), t.uptime()-t.up)
}

// lost returns the error of a lost lease.
func (t *term) lost(why string, args ...any) error {
	return fmt.Errorf("restart: %s: term %d: %w: %s", t.lease.name(), t.record.Term, ErrLeaseLost, fmt.Sprintf(why, args...))
}

func (t *term) interval() time.Duration { return t.ttl / 10 }
func (t *term) timeout() time.Duration  { return t.ttl / 5 }
func (t *term) margin() time.Duration   { return t.ttl / 4 }
