package restart

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// periods are how long each run lasts before it fails: from at once to just
// under the default Stable.
var periods = []time.Duration{
	10 * time.Millisecond, 100 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
	30 * time.Second, time.Minute, 150 * time.Second, 5 * time.Minute, 8 * time.Minute, 10*time.Minute - 1,
}

// simulate returns when p starts runs between begin and end. Run says how long the nth
// of them lasts, and whether it then fails.
func simulate(p Policy, begin, end time.Time, run func(n int) (time.Duration, bool)) []time.Time {
	p = p.filled()
	var starts []time.Time
	for level, now := 0, begin; now.Before(end); {
		starts = append(starts, now)
		ran, failed := run(len(starts))
		var wait time.Duration
		level, wait = p.decide(level, ran, failed, 0, now.UnixNano())
		now = now.Add(ran + wait)
	}
	return starts
}

// busiest returns the most starts within any window that begins at from or
// later.
func busiest(starts []time.Time, from time.Time, window time.Duration) (most int) {
	for i, begin := range starts {
		if begin.Before(from) {
			continue
		}
		n, _ := slices.BinarySearchFunc(starts[i:], begin.Add(window), time.Time.Compare)
		most = max(most, n)
	}
	return most
}

// Once the longest delay is reached, Wrap starts f at most 11 times in 10 × Max, at any
// period. Each period has 1,000 runs, one after another on the clock of a bubble, so
// each has different jitter.
//
// A quarter as jitter, or any even chance beyond 2/9, could not keep to it: the
// mean delay at the top is Max × (1 + Jitter/2)/(1 + Jitter), 0.9 Max with a
// quarter, and 11 of those fall short of 10 × Max.
func TestStartRate(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 100
	}
	window := 10 * Policy{}.filled().Max
	for _, period := range periods {
		t.Run(period.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, most := rand.New(rand.NewPCG(uint64(period), 1)), 0
				for range seeds {
					time.Sleep(time.Duration(r.Int64N(int64(time.Second))))
					first := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), 5*window/2)
					var starts []time.Time
					_ = Policy{Logger: quiet}.Wrap(func(context.Context) error {
						starts = append(starts, time.Now())
						time.Sleep(period)
						return errRun
					})(ctx)
					cancel()
					most = max(most, busiest(starts, first.Add(window), window))
				}
				if most > 11 || period < time.Second && most != 11 {
					t.Errorf("up to %d starts in %v, want 11 at most, and so many at short periods", most, window)
				}
			})
		})
	}
}

// The bound for other policies is 10 × (1 + Jitter), rounded up, once the
// longest delay is reached.
func TestStartRateOfPolicies(t *testing.T) {
	for _, tt := range []struct {
		p     Policy
		bound int
	}{
		{Policy{}, 11},
		{Policy{Jitter: -1}, 10},
		{Policy{Jitter: 0.05}, 11},
		{Policy{Jitter: 0.25}, 13},
		{Policy{Jitter: 0.5}, 15},
		{Policy{Jitter: 1}, 20},
		{Policy{Factor: 1.1}, 11},
		{Policy{Factor: 1000}, 11},
		{Policy{Min: 5 * time.Minute}, 11},
		{Policy{Min: time.Millisecond, Max: 7 * time.Second, Stable: time.Minute}, 11},
		{Policy{Min: time.Minute, Max: time.Hour, Factor: 1.5, Jitter: 0.2, Stable: 90 * time.Minute}, 12},
	} {
		if err := tt.p.Validate(); err != nil {
			t.Fatal(err)
		}
		p := tt.p.filled()
		highest, top := p.at(math.MaxInt)
		window := 10 * p.Max
		if bound := int((window + top - 1) / top); bound != tt.bound {
			t.Errorf("%+v: %d longest delays are needed for %v, want %d", tt.p, bound, window, tt.bound)
		}
		for _, period := range periods {
			if period >= p.Stable {
				continue
			}
			most := 0
			for seed := range int64(4) {
				begin := time.Unix(0, seed)
				starts := simulate(p, begin, begin.Add(time.Duration(highest)*(p.Stable+p.Max)+3*window), func(int) (time.Duration, bool) { return period, true })
				most = max(most, busiest(starts, starts[highest], window))
			}
			if most > tt.bound {
				t.Errorf("%+v: failing every %v, %d starts in %v; want at most %d", tt.p, period, most, window, tt.bound)
			}
		}
	}
}

// script makes the runs of a service that mostly fails at once, sometimes lasts, and
// seldom lasts for hours. Only a ledger sees runs that end well; Wrap does not.
func script(seed int64, p Policy) func(int) (time.Duration, bool) {
	r := rand.New(rand.NewPCG(uint64(seed), 2))
	return func(int) (time.Duration, bool) {
		short := time.Duration(r.Int64N(int64(time.Minute)))
		switch r.IntN(20) {
		case 0:
			return time.Duration(r.Int64N(int64(14 * p.Stable))), r.IntN(2) == 0
		case 1, 2:
			return time.Duration(r.Int64N(int64(2 * p.Stable))), r.IntN(2) == 0
		case 3:
			return short, false
		}
		return short * time.Duration(r.IntN(2)), true
	}
}

// Whatever the mixture, no window has more failures than the first one of a service
// that never works: the ten levels, and the longest delays after them. Runs that end
// well do not count, because at level 0 nothing slows them.
func TestMixed(t *testing.T) {
	p := Policy{}.filled()
	window := 10 * p.Max
	worst := 1 // the first start
	for at, level := time.Duration(0), 1; at+p.Delay(level) < window; level++ {
		at += p.Delay(level)
		worst++
	}
	if worst != 19 {
		t.Errorf("the first %v has up to %d starts", window, worst)
	}
	most := 0
	for seed := range int64(200) {
		begin := time.Unix(0, seed)
		run := script(seed, p)
		fails := map[int]bool{}
		starts := simulate(p, begin, begin.Add(48*time.Hour), func(n int) (time.Duration, bool) {
			ran, failed := run(n)
			fails[n-1] = failed
			return ran, failed
		})
		var failing []time.Time
		for n, start := range starts {
			if fails[n] {
				failing = append(failing, start)
			}
		}
		if n := busiest(failing, begin, window); n > worst {
			t.Errorf("seed %d: %d failing runs in %v, want at most %d", seed, n, window, worst)
		} else {
			most = max(most, n)
		}
	}
	if most < worst-3 {
		t.Errorf("at most %d failing runs in %v: the test is blind", most, window)
	}
}

// Wrap decides by the same rule, over mixed runs that all end in an error.
func TestWrapFollowsTheRule(t *testing.T) {
	p := Policy{}.filled()
	for seed := range int64(50) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour)
			defer cancel()
			time.Sleep(time.Duration(seed))
			begin, run := time.Now(), script(seed, p)
			want := simulate(p, begin, begin.Add(48*time.Hour-time.Duration(seed)), func(n int) (time.Duration, bool) {
				ran, _ := run(n)
				return ran, true
			})
			run = script(seed, p)
			var got []time.Time
			err := Policy{Logger: quiet}.Wrap(func(context.Context) error {
				got = append(got, time.Now())
				ran, _ := run(len(got))
				time.Sleep(ran)
				return errRun
			})(ctx)
			if !slices.EqualFunc(got, want, time.Time.Equal) {
				t.Errorf("seed %d: %d starts, the rule says %d", seed, len(got), len(want))
			}
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errRun) {
				t.Error(err)
			}
		})
	}
}

// A day of failures is forgiven by 1 h 40 min of health, ten levels of 10 min;
// a minute less leaves one level.
func TestForgiven(t *testing.T) {
	for _, period := range []time.Duration{10 * time.Millisecond, time.Minute, 10*time.Minute - 1} {
		for healthy, level := range map[time.Duration]int{
			0:                   10,
			9 * time.Minute:     10,
			10 * time.Minute:    10, // forgives one, and its end is one
			20 * time.Minute:    9,
			99 * time.Minute:    2,
			100*time.Minute - 1: 2,
			100 * time.Minute:   1,
			24 * time.Hour:      1,
		} {
			t.Run(fmt.Sprintf("every %v then %v", period, healthy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					begin := time.Now()
					var ended time.Time
					_ = Policy{Logger: quiet}.Wrap(func(context.Context) error {
						switch {
						case !ended.IsZero():
							d := Policy{}.Delay(level)
							if wait := time.Since(ended); wait < d || wait > d+d/10+1 {
								t.Errorf("waited %v, want level %d: %v and up to a tenth", wait, level, d)
							}
							cancel()
						case time.Since(begin) > 24*time.Hour:
							time.Sleep(healthy)
							ended = time.Now()
						default:
							time.Sleep(period)
						}
						return errRun
					})(ctx)
				})
			})
		}
	}
}

// A service that makes the machine reboot, itself or by its supervisor, is slowed too.
func TestLedgerReboots(t *testing.T) {
	for _, says := range []bool{true, false} {
		for _, ran := range []time.Duration{time.Second, time.Minute} {
			t.Run(fmt.Sprint("ran ", ran, " says ", says), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.reboot()
					var starts []time.Time
					for range 30 {
						l, _ := w.begin(t)
						starts = append(starts, time.Now())
						if time.Sleep(ran); says {
							l.End(errRun)
						}
						w.reboot()
						time.Sleep(10 * time.Second)
					}
					if most := busiest(starts, starts[12], 10*5*time.Minute); most > 11 {
						t.Errorf("%d starts in 50 minutes", most)
					}
				})
			})
		}
	}
}
