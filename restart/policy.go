package restart

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// A Policy says when something that ended may start again. It counts in levels, and
// each level has its delay:
//
//   - A run takes the level down by one for each Stable that it lasted. A failure then
//     takes it up by one.
//   - Level 0 has no delay, level 1 has Min, and each further level Factor times the
//     one before, up to Max with the jitter. The first level with the longest delay
//     is the highest. With the defaults, what fails at once waits 1, 2, 4, 8, 16 s and
//     so on, each with its jitter.
//
// Since Stable exceeds Max, whatever fails faster than Stable backs off, at any
// period. The log lines give the level as backoff, because level is slog's own key.
//
// Unless Factor is 1, these bounds hold for any mixture of failures:
//   - At the highest level, something that always fails within Stable starts at most
//     10 × (1 + Jitter) times, rounded up, within any 10 × Max. With the defaults
//     that is 11 starts in 50 minutes, from the tenth failure on.
//   - No 10 × Max has more failures than the first 10 × Max of something that never
//     works. With the defaults that is 19.
//   - A run of one Stable for each level forgives everything. With the defaults, 1 h
//     40 min forgive even a day of failures.
//
// A [Ledger] keeps to these bounds too, and says which starts they do not cover.
//
// The zero Policy has the defaults that its fields document.
type Policy struct {
	Min    time.Duration // delay of level 1; at most Max; 0 means 1 s
	Max    time.Duration // longest delay, including jitter; 0 means 5 min
	Factor float64       // growth of the delay with each level; 1, which makes all delays Min, or at least 1.01; 0 means 2
	Jitter float64       // largest fraction of a delay that is added at random; at most 1; 0 means 0.1, negative none
	Stable time.Duration // how long a run must last to forgive one level; more than Max; 0 means 10 min

	Logger *slog.Logger // gets a warning for each failure and its wait; nil means slog.Default
}

// filled returns p with its defaults set. A negative Jitter stays, so filling twice
// changes nothing.
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

// Validate returns an error that names the first field that cannot work, or nil.
func (p Policy) Validate() error {
	p = p.filled()
	switch {
	case p.Min < 0:
		return fmt.Errorf("restart: Min: %v is negative; 0 means 1s", p.Min)
	case p.Max < p.Min:
		return fmt.Errorf("restart: Max: %v is less than Min, %v; raise it or lower Min", p.Max, p.Min)
	case !(p.Factor >= 1) || math.IsInf(p.Factor, 0):
		return fmt.Errorf("restart: Factor: %v must be a number of at least 1, or delays shrink; 0 means 2", p.Factor)
	case p.Factor > 1 && p.Factor < 1.01:
		return fmt.Errorf("restart: Factor: %v is under 1.01, so Max would be thousands of levels away; raise it, or set 1", p.Factor)
	case p.Factor > 1 && p.Min < p.Max && float64(p.Min)*(p.Factor-1) < 1:
		return fmt.Errorf("restart: Factor: %v does not raise Min, %v, by a nanosecond; raise either", p.Factor, p.Min)
	case !(p.Jitter <= 1):
		return fmt.Errorf("restart: Jitter: %v must be a number of at most 1; 0 means 0.1, negative none", p.Jitter)
	case p.Stable <= p.Max:
		return fmt.Errorf("restart: Stable: %v must exceed Max, %v, or what fails between the two is never slowed", p.Stable, p.Max)
	}
	return nil
}

// still is a stopped clock: the delays do not depend on the time.
type still struct{}

func (still) Now() time.Time { return time.Time{} }

// at returns a level and its delay without jitter. A level above the highest is taken
// as the highest.
func (p Policy) at(level int) (int, time.Duration) {
	jitter := max(p.Jitter, 0)
	// Rounded up, so that the longest delays keep the bound on starts.
	top := p.Max - time.Duration(float64(p.Max)*jitter/(1+jitter))
	// Not by its constructor, which allocates and gives up after 15 min by default.
	b := backoff.ExponentialBackOff{InitialInterval: min(p.Min, top), Multiplier: p.Factor, MaxInterval: top, Clock: still{}}
	b.Reset()
	var d time.Duration
	for n := range level {
		next := b.NextBackOff()
		if next == d { // the highest level, or Factor is 1
			return n, d
		}
		d = next
	}
	return level, d
}

// Delay returns the delay of a level, without jitter. It is 0 for level 0 and below,
// and Max / (1 + Jitter) at most, which leaves room for the jitter.
func (p Policy) Delay(level int) time.Duration {
	_, d := p.filled().at(level)
	return d
}

// decide is the one rule: it returns the level after a run, and how long to wait
// before the next, but no less than asked, from [RetryAfter].
//
// It is pure: run identifies the run and seeds the jitter, so the same run always has
// the same wait. p must be filled and valid.
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

// Wrap returns a function that runs f, and runs it again after each error or panic,
// once the policy's wait is over. It fits lifecycle.Group.Go. The function returns:
//   - nil, if f returns nil;
//   - f's error, if that is [Permanent] or ctx has ended;
//   - ctx's cause, if ctx ends during a wait, which ends the wait at once;
//   - Validate's error marked as permanent, without running f, if p is not valid.
//
// An [ErrLeaseLost] does not raise the level. Each error that leads to a wait is logged
// as a warning. A panic counts as a failure
// and does not reach the group. It is logged as an error, with its stack.
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
			if err == nil || ctx.Err() != nil || !filled.retry(ctx, &level, began, err) {
				return err
			}
		}
		return context.Cause(ctx)
	}
}

// retry sets the level after a failure and waits, or reports false if a restart
// cannot mend it. Its frame is large, so it is a separate function: while f runs, the
// rest fits into a goroutine's first stack, which counts if thousands run.
func (p *Policy) retry(ctx context.Context, level *int, began time.Time, err error) (again bool) {
	if carried.IsPermanent(err) {
		return false
	}
	ran := time.Since(began)
	var wait time.Duration
	*level, wait = p.decide(*level, ran, !errors.Is(err, ErrLeaseLost), retryAfter(err), began.UnixNano())
	p.Logger.WarnContext(ctx, "restart wait", "error", err, "ran", logs.Seconds(ran), "backoff", *level, "wait", logs.Seconds(wait))
	_ = sleep(ctx, wait) // the loop checks ctx
	return true
}

// once calls f and returns its panic as an error. A Goexit in f ends the caller too.
func once(ctx context.Context, log *slog.Logger, f func(context.Context) error) (err error) {
	panics.Call[panics.Error](ctx, logs.Loud(log), "restart", f, func(e error) { err = e })
	return err
}

type permanent struct{ error }

func (e *permanent) Unwrap() error   { return e.error }
func (e *permanent) Permanent() bool { return true }

// Permanent marks err as one that no restart can fix. Wrap returns such an error
// instead of trying again. lifecycle.ExitCode returns 78 for it, which suits systemd's
// RestartPreventExitStatus=78. If err is nil, Permanent returns nil.
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

// RetryAfter marks err with the least time to wait before the next try, as the other
// side asked for it. [Policy.Wrap] and [Ledger.Begin] wait for d if the policy's delay
// is shorter, even beyond Max. The level does not change. If one error has several
// marks, the longest counts. If err is nil, RetryAfter returns nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &after{err, d}
}

func retryAfter(err error) (d time.Duration) {
	carried.Within(err, func(e error) {
		if a, ok := e.(*after); ok {
			d = max(d, a.wait)
		}
	})
	return d
}
