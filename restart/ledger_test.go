package restart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// A world is a machine in a bubble, on which one process after another has the ledger.
type world struct {
	system
	path string
	p    Policy
	step time.Duration // of the wall clock
	boot uint64        // 0: a system that knows no boot
	up   time.Time     // when it was booted
	who  uint64
	log  bytes.Buffer
}

func newWorld(t *testing.T) *world {
	w := &world{system: *machine(), path: filepath.Join(t.TempDir(), "ledger"), boot: 1, up: time.Now().Add(-time.Hour)}
	w.p = Policy{Jitter: -1, Logger: slog.New(slog.NewTextHandler(&w.log, nil))}
	w.now = func() moment {
		m := moment{wall: time.Now().Add(w.step).UnixNano(), up: int64(time.Since(w.up)), boot: w.boot}
		if w.boot == 0 {
			m.up = m.wall
		}
		return m
	}
	w.self = func() uint64 { return w.who }
	return w
}

func (w *world) reboot() { w.boot, w.up = w.boot+1, time.Now() }

// ledger returns the ledger of a new process.
func (w *world) ledger() *Ledger {
	w.who++
	return &Ledger{Path: w.path, Policy: w.p, sys: &w.system}
}

// begin begins a run of a new process. It returns its ledger, and how long Begin took.
func (w *world) begin(t *testing.T) (*Ledger, time.Duration) {
	t.Helper()
	l := w.ledger()
	began := time.Now()
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.run == nil {
		t.Fatal("Begin returned nil and left no run")
	}
	return l, time.Since(began)
}

// patience begins a run of l, unless that takes longer than d.
func (w *world) patience(t *testing.T, l *Ledger, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, io.EOF)
	defer cancel()
	if err := l.Begin(ctx); err != nil && err != io.EOF {
		t.Fatal(err)
	}
}

// fail raises the ledger to a level by runs that fail at once.
func (w *world) fail(t *testing.T, level int) {
	t.Helper()
	for range level {
		l, _ := w.begin(t)
		l.End(errRun)
	}
}

// stop ends the run as a deploy does.
func (l *Ledger) stop(cut ...string) {
	l.requested = func() bool { return true }
	l.End(nil, cut...)
}

// The ledger decides as Policy does, at any sequence of runs.
func TestLedgerRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.p.filled()
		rnd := rand.New(rand.NewPCG(1, 2))
		level, want := 0, time.Duration(0)
		for i := range 500 {
			l, took := w.begin(t)
			if took != want || l.run.level != level {
				t.Fatalf("run %d waits %v at level %d; want %v at %d", i, took, l.run.level, want, level)
			}
			ran := time.Duration(rnd.Int64N(int64(2 * p.Stable)))
			if rnd.IntN(2) == 0 {
				ran /= 1000
			}
			time.Sleep(ran)
			switch rnd.IntN(5) {
			case 0:
				l.stop()
				level, _ = p.decide(level, ran, false, 0, 0)
				want = 0
			case 3:
				l.End(nil)
				level, want = p.decide(level, ran, ran < p.Stable, 0, 0)
			case 1: // dies
				level, want = p.decide(level, ran, true, 0, 0)
			case 2:
				l.End(fmt.Errorf("outer: %w", RetryAfter(errRun, time.Minute)))
				level, want = p.decide(level, ran, true, time.Minute, 0)
			default:
				l.End(errRun)
				level, want = p.decide(level, ran, true, 0, 0)
			}
		}
	})
}

func TestLedger(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, w *world)
		wait time.Duration // of the Begin that follows
	}{
		{"the first run", func(*testing.T, *world) {}, 0},
		{"a failure", func(t *testing.T, w *world) { w.fail(t, 1) }, time.Second},
		{"four failures", func(t *testing.T, w *world) { w.fail(t, 4) }, 8 * time.Second},
		{"an error that no restart mends", func(t *testing.T, w *world) {
			l, _ := w.begin(t)
			l.End(Permanent(errRun))
		}, time.Second},
		{"a requested stop waits for nothing, and keeps the level", func(t *testing.T, w *world) {
			w.fail(t, 2)
			l, _ := w.begin(t)
			l.stop()
			l, took := w.begin(t)
			if took != 0 {
				t.Errorf("waits %v", took)
			}
			l.End(errRun)
		}, 4 * time.Second},
		{"an end with nil that was not requested", func(t *testing.T, w *world) {
			for range 3 {
				l, _ := w.begin(t)
				l.End(nil)
			}
		}, 4 * time.Second},
		{"one after Stable", func(t *testing.T, w *world) {
			l, _ := w.begin(t)
			time.Sleep(w.p.filled().Stable)
			l.End(nil)
		}, 0},
		{"one after Stable that takes the level down", func(t *testing.T, w *world) {
			w.fail(t, 4)
			l, _ := w.begin(t)
			time.Sleep(2 * w.p.filled().Stable)
			l.End(nil)
		}, 2 * time.Second},
		{"a supervisor's delay is not added", func(t *testing.T, w *world) {
			w.fail(t, 4)
			time.Sleep(5 * time.Second)
		}, 3 * time.Second},
		{"a wait that was ended goes on", func(t *testing.T, w *world) {
			w.fail(t, 4)
			w.begin(t) // dies
			for range 3 {
				ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, io.EOF)
				l := w.ledger()
				if err := l.Begin(ctx); err != io.EOF {
					t.Error(err)
				}
				cancel()
				l.End(errRun) // there was no run
			}
		}, 16*time.Second - 9*time.Second},
		{"the wait is no part of the run", func(t *testing.T, w *world) {
			w.fail(t, 11)
			w.begin(t)
			time.Sleep(w.p.filled().Stable - time.Nanosecond)
		}, 5 * time.Minute},
		{"a boot takes the level down by one", func(t *testing.T, w *world) {
			w.fail(t, 4)
			w.reboot()
		}, 4 * time.Second},
		{"and once", func(t *testing.T, w *world) {
			w.fail(t, 5)
			w.reboot()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			w.ledger().Begin(ctx)
		}, 5 * time.Second},
		{"a run that the boot ended", func(t *testing.T, w *world) {
			w.fail(t, 4)
			w.begin(t)
			time.Sleep(time.Minute)
			w.reboot()
			time.Sleep(3 * time.Second)
		}, 5 * time.Second},
		{"a long one that the boot ended", func(t *testing.T, w *world) {
			w.fail(t, 9)
			w.begin(t)
			time.Sleep(90 * time.Minute)
			w.reboot()
		}, 0},
		{"the same run twice, after an exec", func(t *testing.T, w *world) {
			w.fail(t, 4)
			w.begin(t)
			w.who-- // the next process is this one
		}, 0},
		{"the same process after its end", func(t *testing.T, w *world) {
			w.fail(t, 4)
			w.who--
		}, 8 * time.Second},
		{"processes that cannot be told apart", func(t *testing.T, w *world) {
			w.self = func() uint64 { return 0 }
			w.fail(t, 4)
			w.begin(t)
		}, 16 * time.Second},
		{"a run that another process took for dead ends well", func(t *testing.T, w *world) {
			w.fail(t, 4)
			a, _ := w.begin(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			w.ledger().Begin(ctx)
			a.stop()
		}, 0},
		{"the end of an older run does not count", func(t *testing.T, w *world) {
			w.fail(t, 3)
			a, _ := w.begin(t)
			b, _ := w.begin(t)
			b.End(errRun)
			a.End(nil)
		}, 16 * time.Second},
		{"the wall clock is set back during the wait", func(t *testing.T, w *world) {
			w.boot = 0
			w.fail(t, 3)
			now := w.now
			late := time.Now().Add(time.Second)
			w.now = func() moment {
				if w.step = 0; time.Now().After(late) {
					w.step = -time.Hour
				}
				return now()
			}
			if l, took := w.begin(t); took != 4*time.Second || l.run == nil {
				t.Errorf("waits %v, %+v", took, l.run)
			}
		}, 8 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				tt.do(t, w)
				if _, took := w.begin(t); took != tt.wait {
					t.Errorf("waits %v, want %v", took, tt.wait)
				}
			})
		})
	}
}

// No step of the clock makes a wait longer than the delay that is left, and the next
// Begin continues a wait that was ended.
func TestLedgerClock(t *testing.T) {
	const years = 10 * 365 * 24 * time.Hour
	for _, step := range []time.Duration{years, -years} {
		for _, boot := range []uint64{0, 1, 2} { // no boot, the same, another
			for _, dies := range []bool{true, false} {
				t.Run(fmt.Sprint(step, " boot ", boot, " dies ", dies), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						w.boot = min(boot, 1)
						w.fail(t, 12)
						if l, _ := w.begin(t); !dies {
							l.End(errRun)
						}
						w.step = step
						if boot == 2 {
							w.reboot()
						}
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						defer cancel()
						began := time.Now()
						w.ledger().Begin(ctx)
						w.begin(t)
						took, top := time.Since(began), w.p.Delay(100)
						if took > top || boot == 1 && took != top {
							t.Errorf("waits %v, owes %v", took, top)
						}
					})
				})
			}
		}
	}
}

// A wait is announced, in the log and to the Waits in its context.
func TestLedgerWaitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 1)
		w.log.Reset()
		var told string
		begin := time.Now()
		ctx := context.WithValue(t.Context(), carried.WaitKey, carried.Waits(func(what string, until time.Time) { told += fmt.Sprint(what, " ", until.Sub(begin)) }))
		w.ledger().Begin(ctx)
		if told != "restart 1s" || !strings.Contains(w.log.String(), `level=WARN msg="restart wait" cause=failed ran=0s backoff=1 wait=1s`) {
			t.Errorf("%q, %q", told, w.log.String())
		}
	})
}

// A ledger that cannot work returns a permanent error at once. A context that has ended
// begins nothing.
func TestLedgerMisuse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	for want, l := range map[string]*Ledger{
		"restart: Ledger: Path": {},
		"restart: Stable":       {Path: path, Policy: Policy{Max: time.Hour}},
	} {
		if err := l.Begin(t.Context()); !carried.IsPermanent(err) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		l.End(nil)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.EOF)
	if err := (&Ledger{Path: path}).Begin(ctx); err != io.EOF {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("there is a ledger", err)
	}
}
