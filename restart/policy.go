package restart

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/panics"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// A Policy says when something that ended may start again. It counts in
// levels: a failure takes the level up by one, each Stable of a run takes it
// down by one before that, and each level has its delay. The highest level is
// the first with the longest delay. As Stable exceeds Max, whatever fails
// faster than that backs off, at any period.
//
// The bounds, for any mixture of failures, unless Factor is 1:
//   - What always fails within Stable starts at most 10 × (1 + Jitter) times,
//     rounded up, within any 10 × Max once it is at the highest level. With the
//     defaults that is 11 starts in 50 minutes, from the tenth failure on.
//   - No 10 × Max has more failures than the first one of what never works: with
//     the defaults 19.
//   - A run of one Stable for each level forgives it all: with the defaults 1 h
//     40 min forgive even a day of failures.
//
// A [Ledger] keeps to them too, and says which starts they do not cover.
//
// The zero Policy is the documented default.
type Policy struct {
	Min    time.Duration // delay of level 1, at most Max; 0 means 1 s
	Max    time.Duration // bound on every delay, jitter included; 0 means 5 min
	Factor float64       // from each level to the next, at least 1: all delays are Min; 0 means 2
	Jitter float64       // the part of a delay added by chance at most, up to 1; 0 means 0.1, negative none
	Stable time.Duration // a run this long forgives one level; more than Max; 0 means 10 min

	Logger *slog.Logger // gets each failure and wait, as a warning; nil means slog.Default
}

// filled returns p with its defaults in place. A negative Jitter stays, so that
// filling twice changes nothing.
func (p Policy) filled() Policy {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&p.Min, time.Second)
	def(&p.Max, 5*time.Minute)
	def(&p.Stable, 10*time.Minute)
	if p.Factor == 0 {
		p.Factor = 2
	}
	if p.Jitter == 0 {
		p.Jitter = 0.1
	}
	return p
}

// Validate returns an error that names the field of a policy that cannot work.
func (p Policy) Validate() error {
	p = p.filled()
	switch {
	case p.Min < 0:
		return fmt.Errorf("restart: Min: %v is negative; 0 means 1s", p.Min)
	case p.Max < p.Min:
		return fmt.Errorf("restart: Max: %v is under Min, %v; raise it or lower Min", p.Max, p.Min)
	case !(p.Factor >= 1) || math.IsInf(p.Factor, 0):
		return fmt.Errorf("restart: Factor: %v must be a number of at least 1, or delays shrink; 0 means 2", p.Factor)
	case p.Factor > 1 && p.Min < p.Max && float64(p.Min)*(p.Factor-1) < 1:
		return fmt.Errorf("restart: Factor: %v does not raise Min, %v, by a nanosecond; raise either", p.Factor, p.Min)
	case !(p.Jitter <= 1):
		return fmt.Errorf("restart: Jitter: %v must be a number of at most 1; 0 means 0.1, negative none", p.Jitter)
	case p.Stable <= p.Max:
		return fmt.Errorf("restart: Stable: %v must exceed Max, %v, or what fails between the two is never slowed", p.Stable, p.Max)
	}
	return nil
}

// still is a clock that stands: the steps do not depend on the time.
type still struct{}

func (still) Now() time.Time { return time.Time{} }

// at returns the delay of a level without jitter, and the level: the highest there
// is if the given one is above that.
func (p Policy) at(level int) (int, time.Duration) {
	jitter := max(p.Jitter, 0)
	// Rounded up, so that the longest delays keep the bound on starts.
	top := p.Max - time.Duration(float64(p.Max)*jitter/(1+jitter))
	// Only NextBackOff is used: the other ways of waiting reset what was set.
	// Not its constructor, which allocates and gives up after 15 min by default.
	b := backoff.ExponentialBackOff{InitialInterval: min(p.Min, top), Multiplier: p.Factor, MaxInterval: top, Clock: still{}}
	b.Reset()
	var d time.Duration
	for n := range level {
		next := b.NextBackOff()
		if next == d { // at the top, or Factor is 1
			return n, d
		}
		d = next
	}
	return level, d
}

// Delay returns how long to wait at a level, without jitter. Level 0 and below
// wait for nothing.
func (p Policy) Delay(level int) time.Duration {
	_, d := p.filled().at(level)
	return d
}

// decide is the one rule: it returns the level after a run, and how long to
// wait before the next. What the run asked for by [RetryAfter] is the least.
//
// It is pure. The jitter comes from a hash of what identifies the run, so the
// same run decides the same. p is filled and valid.
func (p Policy) decide(level int, ran time.Duration, failed bool, asked time.Duration, run int64) (int, time.Duration) {
	level -= int(min(max(ran, 0)/p.Stable, time.Duration(level)))
	if failed {
		level++
	}
	level, d := p.at(level)
	u := float64(rand.NewPCG(uint64(run), 0).Uint64()>>11) / (1 << 53)
	d += min(time.Duration(max(p.Jitter, 0)*u*float64(d)), p.Max-d)
	return level, max(d, asked)
}

// Wrap returns a function that runs f again after an error or a panic, waiting
// as the policy says. It fits lifecycle.Group.Go. It returns nil if f does, f's
// error if that is [Permanent] or ctx has ended, and ctx's cause if ctx ends
// during a wait, which ends the wait at once. A policy that is not valid runs
// nothing and returns its error, marked as permanent.
//
// Each error that is followed by a wait is logged as a warning. A panic is logged
// as an error, with its stack, and counts as a failure; so it does not reach the
// group.
func (p Policy) Wrap(f func(context.Context) error) func(context.Context) error {
	if f == nil {
		panic("restart: Policy.Wrap: nil function")
	}
	if err := p.Validate(); err != nil {
		return func(context.Context) error { return Permanent(err) }
	}
	filled := p.filled()
	filled.Logger = logs.Loud(p.Logger)
	return func(ctx context.Context) error {
		for level := 0; ctx.Err() == nil; {
			began := time.Now()
			err := once(ctx, filled.Logger, f)
			if err == nil || ctx.Err() != nil || !filled.backOff(ctx, &level, began, err) {
				return err
			}
		}
		return context.Cause(ctx)
	}
}

// backOff sets the level after a failure and waits, or reports that a restart
// cannot mend it. It is a function of its own for its frame: thousands of
// functions that run do without it, in a goroutine's first stack.
func (p *Policy) backOff(ctx context.Context, level *int, began time.Time, err error) (again bool) {
	if wire.IsPermanent(err) {
		return false
	}
	ran := time.Since(began)
	var wait time.Duration
	*level, wait = p.decide(*level, ran, true, retryAfter(err), began.UnixNano())
	p.Logger.WarnContext(ctx, "restart wait", "error", err, "ran", logs.Seconds(ran), "backoff", *level, "wait", logs.Seconds(wait))
	_ = sleep(ctx, wait) // the loop sees ctx
	return true
}

// once calls f, with a panic as an error. A Goexit goes on to end the caller.
func once(ctx context.Context, log *slog.Logger, f func(context.Context) error) (err error) {
	panics.Call(ctx, logs.Loud(log), "restart", f, func(e error) { err = e })
	return err
}

type permanent struct{ error }

func (e *permanent) Unwrap() error   { return e.error }
func (e *permanent) Permanent() bool { return true }

// Permanent marks err as one that a restart cannot mend. Wrap returns it, and
// lifecycle.ExitCode makes it 78, for RestartPreventExitStatus=78. Nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type after struct {
	error
	wait time.Duration
}

func (e *after) Unwrap() error { return e.error }

// RetryAfter marks err with what the other side said: to wait d at least. Wrap
// waits that long if the policy's delay is less, even beyond Max; the level
// is not touched. The longest of several in one error counts. Nil stays nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &after{err, d}
}

func retryAfter(err error) (d time.Duration) {
	wire.Within(err, func(e error) {
		if a, ok := e.(*after); ok {
			d = max(d, a.wait)
		}
	})
	return d
}
