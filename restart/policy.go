package restart

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// A Policy says when something that ended may start again. It counts in
// levels: a failure takes the level up by one, each Stable of a run takes it
// down by one before that, and each level has its delay. As Stable exceeds Max,
// whatever fails faster than that backs off, at any period.
//
// The zero Policy is the documented default.
type Policy struct {
	Min    time.Duration // delay of level 1, and less than Max by its jitter at least; 0 means 1 s
	Max    time.Duration // bound on every delay, jitter included; 0 means 5 min
	Factor float64       // from each level to the next; 0 means 2
	Jitter float64       // the part of a delay added by chance at most; 0 means 0.25, negative none
	Stable time.Duration // a run this long forgives one level; more than Max; 0 means 10 min

	Logger *slog.Logger // gets each end and wait; nil means silence
}

// filled returns p with its defaults in place.
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
		p.Jitter = 0.25
	}
	p.Jitter = max(p.Jitter, 0)
	return p
}

// Validate returns an error that names the field of a policy that cannot work.
func (p Policy) Validate() error {
	p = p.filled()
	switch {
	case p.Min < 0:
		return fmt.Errorf("restart: Min: %v is negative; 0 means 1s", p.Min)
	case p.Max < p.Min:
		return fmt.Errorf("restart: Max: %v is under Min, %v; raise it", p.Max, p.Min)
	case !(p.Factor >= 1) || math.IsInf(p.Factor, 0):
		return fmt.Errorf("restart: Factor: %v is not a number from 1; 0 means 2", p.Factor)
	case !(p.Jitter <= 1):
		return fmt.Errorf("restart: Jitter: %v is not a part of at most 1; 0 means 0.25", p.Jitter)
	case p.Stable <= p.Max:
		return fmt.Errorf("restart: Stable: %v must exceed Max, %v, or what fails between the two is never slowed", p.Stable, p.Max)
	}
	return nil
}

// base returns the delay of a level without jitter, and whether it is the
// largest there is.
func (p Policy) base(level int) (time.Duration, bool) {
	top := time.Duration(float64(p.Max) / (1 + p.Jitter))
	if level <= 0 {
		return 0, false
	}
	// Only NextBackOff is used: its other ways of waiting give up after 15 min
	// by default, or reset what was set.
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(min(p.Min, top)),
		backoff.WithMultiplier(p.Factor),
		backoff.WithMaxInterval(top),
		backoff.WithRandomizationFactor(0),
		backoff.WithMaxElapsedTime(0),
	)
	var d time.Duration
	for range level {
		next := b.NextBackOff()
		if next == d { // at the top, or Factor is 1
			return d, true
		}
		d = next
	}
	return d, d >= top
}

// Delay returns how long to wait at a level, without jitter. Level 0 and below
// wait for nothing.
func (p Policy) Delay(level int) time.Duration {
	d, _ := p.filled().base(level)
	return d
}

// next returns the level after a run.
func (p Policy) next(level int, ran time.Duration, failed bool) int {
	level = max(0, level-int(ran/p.Stable))
	if !failed {
		return level
	}
	if _, top := p.base(level); top {
		return level
	}
	return level + 1
}

// delay returns how long to wait at a level before the run that follows the
// given one. The jitter comes from a hash of the run, so the same run decides
// the same.
func (p Policy) delay(level int, run int64) time.Duration {
	d, _ := p.base(level)
	h := fnv.New64a()
	fmt.Fprint(h, run)
	u := float64(h.Sum64()>>11) / (1 << 53)
	return d + time.Duration(p.Jitter*u*float64(d))
}

// Wrap returns a function that runs f again after an error or a panic, waiting
// as the policy says. It fits lifecycle.Group.Go. It returns nil where f does,
// f's error where that is [Permanent] or ctx has ended, and ctx's cause where
// ctx ends during a wait, which it also ends at once. A policy that is not valid runs nothing and returns
// its error, marked as permanent.
//
// A panic is printed with its stack, to Logger or else to standard error, and
// counts as a failure; so it does not reach the group.
func (p Policy) Wrap(f func(context.Context) error) func(context.Context) error {
	if f == nil {
		panic("restart: Policy.Wrap: nil function")
	}
	return func(ctx context.Context) error {
		if err := p.Validate(); err != nil {
			return Permanent(err)
		}
		p, log := p.filled(), p.Logger
		if log == nil {
			log = slog.New(slog.DiscardHandler)
		}
		for level := 0; ctx.Err() == nil; {
			began := time.Now()
			err := once(ctx, p.Logger, f)
			if err == nil || ctx.Err() != nil {
				return err
			}
			if isPermanent(err) {
				return err
			}
			ran := time.Since(began)
			level = p.next(level, ran, true)
			wait := max(p.delay(level, began.UnixNano()), retryAfter(err))
			log.WarnContext(ctx, "restart wait", "error", err, "ran", ran, "level", level, "wait", wait)
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
		return context.Cause(ctx)
	}
}

// once calls f, with a panic as an error. A Goexit goes on to end the caller.
func once(ctx context.Context, log *slog.Logger, f func(context.Context) error) (err error) {
	labels.Call(ctx, log, "restart", f, func(e error) { err = e })
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

func isPermanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

type after struct {
	error
	wait time.Duration
}

func (e *after) Unwrap() error { return e.error }

// RetryAfter marks err with what the other side said: to wait d at least. Wrap
// waits that long where the policy's delay is less, even beyond Max; the level
// is not touched. Nil stays nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &after{err, d}
}

func retryAfter(err error) time.Duration {
	var a *after
	if errors.As(err, &a) {
		return a.wait
	}
	return 0
}
