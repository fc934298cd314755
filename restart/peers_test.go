package restart

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// A rule gets the time when a run failed, and how long it lasted. It returns how long
// to wait before the next run, or that there is none.
type rule func(now, ran time.Duration) (wait time.Duration, gaveUp bool)

// peers are our rule and those of other projects, with the defaults of their documents
// and sources. Only ours has jitter here.
var peers = []struct {
	name string
	make func() rule

	// If runs fail every sees, the rule waits longer or gives up. If they fail every
	// blind, it waits as after the first failure, for ever. 0: there is no such period.
	sees, blind time.Duration
}{
	{"evenkeel", ours, 10*time.Minute - 1, 10 * time.Minute},
	// The supervisor ends after more than 1 restart, the default, or more than 5,
	// within 5 s. It counts in whole seconds, so it sees up to one more.
	{"OTP 1/5", otp(1, 5*time.Second), 5 * time.Second, 5*time.Second + 1},
	{"OTP 5/5", otp(5, 5*time.Second), time.Second, time.Second + 1},
	{"kubelet", kubelet, 10 * time.Minute, 10*time.Minute + 1},
	{"client-go", clientGo, 24 * time.Hour, 0},
	{"suture", suture, 9650 * time.Millisecond, 9660 * time.Millisecond}, // 30 s × log2(1.25)
	{"Flink", flink, time.Hour - 1, time.Hour},
}

func ours() rule {
	p, level := Policy{}.filled(), 0
	return func(now, ran time.Duration) (wait time.Duration, gaveUp bool) {
		level, wait = p.decide(level, ran, true, 0, int64(now-ran))
		return wait, false
	}
}

func otp(intensity int, period time.Duration) func() rule {
	return func() rule {
		var restarts []time.Duration // within the period
		return func(now, _ time.Duration) (time.Duration, bool) {
			restarts = append(restarts, now)
			for restarts[0] < now-period {
				restarts = restarts[1:]
			}
			return 0, len(restarts) > intensity
		}
	}
}

// kubelet restarts at once the first time and after a run beyond twice its
// longest delay; else 10 s, doubled up to 5 min.
func kubelet() rule {
	var delay time.Duration
	return func(_, ran time.Duration) (time.Duration, bool) {
		if delay == 0 || ran > 10*time.Minute {
			delay = 10 * time.Second
			return 0, false
		}
		wait := delay
		delay = min(2*delay, 5*time.Minute)
		return wait, false
	}
}

// clientGo is the workqueue's limiter for one item: 5 ms, doubled up to 1000 s,
// until the caller forgets the item, which it does after a success.
func clientGo() rule {
	delay := 5 * time.Millisecond / 2
	return func(_, _ time.Duration) (time.Duration, bool) {
		delay = min(2*delay, 1000*time.Second)
		return delay, false
	}
}

// suture counts failures, halved every 30 s. Beyond 5 it pauses for 15 s, its
// jitter comes on top, and counts from 0.
func suture() rule {
	var failures float64
	var last time.Duration
	return func(now, _ time.Duration) (time.Duration, bool) {
		failures = failures*math.Pow(0.5, (now-last).Seconds()/30) + 1
		last = now
		if failures > 5 {
			failures = 0
			return 15 * time.Second, false
		}
		return 0, false
	}
}

// flink is the exponential-delay strategy since 1.19, when the factor went from
// 2 to 1.5 and the longest delay from 5 min to 1. It begins at 1 s, and again when an
// hour and the last delay have passed since the last failure.
func flink() rule {
	delay, last := time.Duration(0), time.Duration(0)
	return func(now, _ time.Duration) (time.Duration, bool) {
		if delay == 0 || now-last >= time.Hour+delay {
			delay = time.Second
		} else {
			delay = min(delay*3/2, time.Minute).Truncate(time.Millisecond)
		}
		last = now
		return delay, false
	}
}

// startsWithin counts the starts of a rule if every run fails after ran.
func startsWithin(d, ran time.Duration, r rule) (starts int, gaveUp bool) {
	for now := time.Duration(0); now < d && !gaveUp; starts++ {
		now += ran
		var wait time.Duration
		wait, gaveUp = r(now, ran)
		now += wait
	}
	return starts, gaveUp
}

// The starts in the first hour if runs fail at a given period; x if the rule gave up.
// How ours differs, and why:
//
//   - OTP's supervisor ends, and the one above it decides. Ours has none above it, so
//     only [Permanent] ends it. A service that fails more slowly than OTP's period
//     starts again at once, for ever.
//   - kubelet is the nearest. It restarts at once the first time, then after 10 s.
//     Ours begins at 1 s, as it also restarts goroutines, and has three starts more.
//     In a run of 10 min kubelet forgets everything, ours one level.
//   - client-go's limiter begins at 5 ms and goes up to 16 min 40 s, longer than a
//     user would wait. It forgives by success, not by time; but a service never
//     succeeds, it only runs for long.
//   - suture's pause does not grow: over a thousand starts at 10 ms. At 10 s it
//     sees nothing. Its score is one for all services of a supervisor.
//   - Flink starts every minute at worst, and then forgets all in an hour.
func TestPeers(t *testing.T) {
	const want = `
every     evenkeel  OTP 1/5   OTP 5/5   kubelet   client-go suture    Flink
10ms      20        2x        6x        17        21        1440      69
100ms     20        2x        6x        17        21        1386      69
1s        20        2x        6x        17        21        1032      68
2s        20        2x        1800      17        21        803       66
5s        20        2x        720       17        21        504       63
10s       19        360       360       17        21        360       59
30s       18        120       120       16        20        120       46
1m0s      17        60        60        15        20        60        35
2m30s     13        24        24        12        18        24        20
5m0s      10        12        12        9         12        12        12
8m0s      8         8         8         7         8         8         8
9m59.999s 6         7         7         6         6         7         6
11m0s     6         6         6         6         6         6         6
`
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-9s", "every")
	for _, p := range peers {
		fmt.Fprintf(&b, " %-9s", p.name)
	}
	for _, period := range append(periods[:len(periods):len(periods)], 11*time.Minute) {
		fmt.Fprintf(&b, "\n%-9v", period.Truncate(time.Millisecond))
		for _, p := range peers {
			starts, gaveUp := startsWithin(time.Hour, period, p.make())
			mark := ""
			if gaveUp {
				mark = "x"
			}
			fmt.Fprintf(&b, " %-9s", fmt.Sprint(starts, mark))
		}
	}
	var got strings.Builder
	for line := range strings.Lines(b.String()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// The longest period of failures that each rule sees, and one that it does not.
func TestPeersBlindPeriods(t *testing.T) {
	slows := func(r rule, ran time.Duration) bool {
		now, first := ran, time.Duration(-1)
		for range 200 {
			wait, gaveUp := r(now, ran)
			if first < 0 {
				first = wait
			}
			if gaveUp || wait > first+first/2 {
				return true
			}
			now += wait + ran
		}
		return false
	}
	for _, p := range peers {
		if !slows(p.make(), p.sees) {
			t.Errorf("%s does not slow what fails every %v", p.name, p.sees)
		}
		if p.blind != 0 && slows(p.make(), p.blind) {
			t.Errorf("%s slows what fails every %v", p.name, p.blind)
		}
		for _, period := range periods {
			if p.name == "evenkeel" && !slows(p.make(), period) {
				t.Errorf("ours does not slow what fails every %v", period)
			}
		}
	}
}

// After a day of failures and 11 good minutes, the next wait shows what is left of the
// day. Ours goes down level by level. A rule that forgets everything restarts at full
// speed after one good run.
func TestPeersAfterOneGoodRun(t *testing.T) {
	want := map[string][2]time.Duration{ // from, to
		"evenkeel":  {4 * time.Minute, 5 * time.Minute},
		"kubelet":   {0, 0},
		"client-go": {1000 * time.Second, 1000 * time.Second},
		"suture":    {0, 0},
		"Flink":     {time.Minute, time.Minute},
	}
	for _, p := range peers {
		r, now, gaveUp := p.make(), time.Duration(0), false
		for now < 24*time.Hour && !gaveUp {
			now += time.Second
			var wait time.Duration
			wait, gaveUp = r(now, time.Second)
			now += wait
		}
		bounds, goesOn := want[p.name]
		if goesOn == gaveUp {
			t.Errorf("%s gave up: %v", p.name, gaveUp)
		} else if gaveUp {
			continue
		}
		if wait, _ := r(now+11*time.Minute, 11*time.Minute); wait < bounds[0] || wait > bounds[1] {
			t.Errorf("%s waits for %v, want %v to %v", p.name, wait, bounds[0], bounds[1])
		}
	}
}
