package restart

import (
	"math/rand/v2"
	"testing"
	"time"
)

// An outcome is how a simulated run ends: with an error, without an End, or with
// nil, by itself or after a requested stop.
type outcome int

const (
	fails outcome = iota
	dies
	exits
	stops
)

// year returns when a ledger starts runs within a year, and how each run ended. It uses
// the functions of Begin and End. A supervisor restarts at once.
func year(p Policy, run func(n int) (time.Duration, outcome)) (starts []time.Time, ends []outcome) {
	p = p.filled()
	begin := time.Unix(0, 0)
	now := moment{wall: begin.UnixNano(), up: int64(time.Hour), boot: 1}
	pass := func(d time.Duration) { now.wall, now.up = now.wall+int64(d), now.up+int64(d) }
	start := record{moment: now}
	for n := uint64(1); now.wall < begin.Add(365*24*time.Hour).UnixNano() && n < 1e6; n++ {
		start.seq, start.run, start.moment = n, n, now
		took, how := run(int(n))
		starts, ends = append(starts, time.Unix(0, now.wall)), append(ends, how)
		pass(took)
		var end record
		switch how {
		case fails:
			end = p.end(start, now, errRun, false)
		case exits:
			end = p.end(start, now, nil, false)
		case stops:
			end = p.end(start, now, nil, true)
		}
		var wait time.Duration
		start.level, wait = p.owes(p.settle(start, end, true, now, nil), now)
		pass(wait)
	}
	return starts, ends
}

// only returns the starts of runs that ended in one of these ways, or those of all
// others.
func only(starts []time.Time, ends []outcome, all bool, how outcome) (some []time.Time) {
	for i := range starts {
		if (ends[i] == how) == all {
			some = append(some, starts[i])
		}
	}
	return some
}

// A program that exits with 0 at once is a crash loop, whatever restarts it and however
// else it fails. Once, nothing slowed it at all.
func TestYearOfExits(t *testing.T) {
	window := 50 * time.Minute
	for name, run := range map[string]func(int) (time.Duration, outcome){
		"exits at once":         func(int) (time.Duration, outcome) { return 10 * time.Millisecond, exits },
		"exits every minute":    func(int) (time.Duration, outcome) { return time.Minute, exits },
		"exits before Stable":   func(int) (time.Duration, outcome) { return 10*time.Minute - 1, exits },
		"fails and exits":       func(n int) (time.Duration, outcome) { return time.Second, outcome(n % 2 * int(exits)) },
		"fails, dies and exits": func(n int) (time.Duration, outcome) { return time.Second, outcome(n % 3) },
	} {
		starts, _ := year(Policy{}, run)
		if n := busiest(starts, starts[10], window); n > 11 {
			t.Errorf("%s: %d starts in %v", name, n, window)
		}
	}
}

// Requested stops cost nothing and forgive nothing. All starts that do not follow one
// keep to the bounds, at the highest level and from the first start.
func TestYearOfStops(t *testing.T) {
	window := 50 * time.Minute
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 5))
		starts, ends := year(Policy{}, func(int) (time.Duration, outcome) {
			return time.Duration(r.Int64N(int64(20 * time.Second))), []outcome{fails, dies, exits, stops, stops}[r.IntN(5)]
		})
		for i := range starts[1:] {
			if ends[i] == stops && starts[i+1].Sub(starts[i]) > 20*time.Second {
				t.Fatalf("seed %d: a start after a requested stop waits", seed)
			}
		}
		if n := busiest(only(starts, ends, false, stops), starts[30], window); n > 11 {
			t.Errorf("seed %d: %d runs in %v that no request stopped", seed, n, window)
		}
	}
}

// Whatever the mixture of short and long runs, no window has more failed runs than the
// first one of a program that never works.
func TestYearOfAll(t *testing.T) {
	p, window, most := Policy{}.filled(), 50*time.Minute, 0
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 6))
		var long []bool
		starts, ends := year(p, func(int) (time.Duration, outcome) {
			ran := time.Duration(r.Int64N(int64(time.Minute))) * time.Duration(r.IntN(2))
			if r.IntN(12) == 0 {
				ran = time.Duration(r.Int64N(int64(14 * p.Stable)))
			}
			how := outcome(r.IntN(4))
			long = append(long, how == exits && ran >= p.Stable)
			return ran, how
		})
		for i := range ends {
			if long[i] {
				ends[i] = stops // it is as good
			}
		}
		most = max(most, busiest(only(starts, ends, false, stops), starts[0], window))
	}
	if most > 19 || most < 14 {
		t.Errorf("up to %d failures in %v", most, window)
	}
}
