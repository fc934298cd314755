package restart

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// A host has its own boot and wall clock.
type host struct {
	boot uint64
	up   time.Time
	step time.Duration
}

func (w *world) on(h host) { w.boot, w.up, w.step = h.boot, h.up, h.step }

// A volume that moves between machines is not a reboot. Hosts that take turns
// with one ledger keep to the bound on starts, at any period and however far
// their clocks are apart. Once each change of the boot id forgave a level: 3,600
// starts an hour at a period of 1 s.
func TestHostsTakeTurns(t *testing.T) {
	p := Policy{}.filled()
	window := 10 * p.Max
	for _, period := range []time.Duration{time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 10*time.Minute - 1} {
		for _, skews := range [][]time.Duration{{0, 0}, {0, time.Hour}, {0, 24 * time.Hour}, {0, -20 * time.Minute, 0}, {0, 3 * time.Hour, -3 * time.Hour}, {0, 24 * time.Hour, 0}} {
			for _, how := range []string{"fails", "ends", "dies", "any"} {
				t.Run(fmt.Sprint(period, skews, how), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						w.p.Jitter = 0
						var hosts []host
						for i, skew := range skews {
							// The last one was booted an hour ago, the others long before.
							up := time.Now().Add(-time.Hour - time.Duration(len(skews)-1-i)*100*time.Hour)
							hosts = append(hosts, host{uint64(i + 1), up, skew})
						}
						r := rand.New(rand.NewPCG(1, uint64(period)))
						var starts []time.Time
						for i := range 80 {
							w.on(hosts[i%len(hosts)])
							l, _ := w.begin(t)
							starts = append(starts, time.Now())
							time.Sleep(period)
							do := how
							if do == "any" {
								do = []string{"fails", "ends", "dies"}[r.IntN(3)]
							}
							switch do {
							case "fails":
								l.End(errRun)
							case "ends":
								l.End(nil)
							}
						}
						// Skewed clocks may make the climb as many times as long as there are hosts.
						top := starts[10*len(hosts)+len(hosts)]
						if n := busiest(starts, top, window); n > 11 {
							t.Errorf("%d starts in %v", n, window)
						}
					})
				})
			}
		}
	}
}

// A fleet of fresh machines, one for each start, is a loop of boots.
func TestFreshHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var starts []time.Time
		for range 40 {
			w.reboot()
			w.begin(t)
			starts = append(starts, time.Now())
			time.Sleep(time.Second)
		}
		if n := busiest(starts, starts[12], 50*time.Minute); n > 11 {
			t.Errorf("%d starts in 50 minutes", n)
		}
	})
}

// Hosts take turns and give up each start before the delay is over. They start in the
// end, because each continues the wait that it has seen.
func TestHostsGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hosts := []host{{1, time.Now().Add(-time.Hour), 0}, {2, time.Now().Add(-9 * time.Hour), time.Hour}, {3, time.Now().Add(-5 * time.Hour), -time.Hour}}
		w.fail(t, 12)
		ended := time.Now()
		for i := 1; ; i++ {
			w.on(hosts[i%3])
			begin := time.Now()
			l := w.ledger()
			w.patience(t, l, time.Minute)
			if l.run != nil {
				break
			}
			if time.Since(ended) > 20*time.Minute || time.Since(begin) != time.Minute {
				t.Fatalf("no start after %v", time.Since(ended))
			}
		}
		if took := time.Since(ended); took < 5*time.Minute || took > 7*time.Minute {
			t.Errorf("starts after %v", took)
		}
	})
}

// The level after a move and after a boot.
func TestMoves(t *testing.T) {
	day := 24 * time.Hour
	for _, tt := range []struct {
		name  string
		ran   time.Duration
		dies  bool
		next  func(h host, now time.Time) host
		level int // of 6 before the run
	}{
		{"a failure moves", time.Second, false, func(_ host, now time.Time) host { return host{2, now.Add(-90 * day), 0} }, 7},
		{"a failure moves to a clock ahead", time.Second, false, func(_ host, now time.Time) host { return host{2, now.Add(-90 * day), day} }, 7},
		{"a death moves at once", time.Second, true, func(_ host, now time.Time) host { return host{2, now.Add(-90 * day), 0} }, 7},
		{"a death moves to a clock ahead: as if it had run for Stable", time.Second, true, func(_ host, now time.Time) host { return host{2, now.Add(-90 * day), day} }, 6},
		{"a death after days moves: it forgives no more than that", 3 * day, true, func(_ host, now time.Time) host { return host{2, now.Add(-90 * day), 0} }, 6},
		{"a death after days moves to a clock behind", 3 * day, true, func(_ host, now time.Time) host { return host{2, now.Add(-90 * day), -9 * day} }, 7},
		{"the machine boots after a failure", time.Second, false, func(h host, now time.Time) host { return host{2, now, 0} }, 6},
		{"the machine boots after a long run that failed", 30 * time.Minute, false, func(h host, now time.Time) host { return host{2, now, 0} }, 3},
		{"the machine's boot ends a long run", 30 * time.Minute, true, func(h host, now time.Time) host { return host{2, now, 0} }, 3},
		{"the machine boots, its clock behind: it may be another one", time.Second, false, func(h host, now time.Time) host { return host{2, now, -day} }, 7},
		{"a system that knows no boot any more", time.Second, false, func(h host, now time.Time) host { return host{0, now, 0} }, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.fail(t, 6)
				l, _ := w.begin(t)
				time.Sleep(tt.ran)
				if !tt.dies {
					l.End(errRun)
				}
				w.on(tt.next(host{w.boot, w.up, w.step}, time.Now()))
				if l, took := w.begin(t); l.run.level != tt.level || took > w.p.Delay(tt.level) {
					t.Errorf("level %d, want %d; waits %v", l.run.level, tt.level, took)
				}
			})
		})
	}
}
