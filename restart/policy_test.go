package restart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(programs())
	goleak.VerifyTestMain(m)
}

// quiet is for tests with many failures.
var quiet = slog.New(slog.DiscardHandler)

var errRun = errors.New("run failed")

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		p    Policy
		want string
	}{
		{Policy{Jitter: -1}, "0s 0s 1s 2s 4s 8s 16s 32s 1m4s 2m8s 4m16s 5m0s 5m0s"},
		{Policy{Jitter: 0.25}, "0s 0s 1s 2s 4s 8s 16s 32s 1m4s 2m8s 4m0s 4m0s 4m0s"},
		{Policy{Factor: 1}, "0s 0s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s"},
		{Policy{Factor: 1e300}, "0s 0s 1s 4m32.727272728s 4m32.727272728s 4m32.727272728s 4m32.727272728s 4m32.727272728s 4m32.727272728s 4m32.727272728s 4m32.727272728s 4m32.727272728s 4m32.727272728s"},
		{Policy{Min: 290 * time.Millisecond, Max: 300 * time.Millisecond, Jitter: 1}, "0s 0s 150ms 150ms 150ms 150ms 150ms 150ms 150ms 150ms 150ms 150ms 150ms"},
	} {
		var got []string
		for level := -1; level <= 11; level++ {
			got = append(got, tt.p.Delay(level).String())
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", tt.p, strings.Join(got, " "), tt.want)
		}
	}
}

// A delay and its jitter stay within Max. The same run has the same wait; runs that
// begin close together have different ones.
func TestJitter(t *testing.T) {
	for _, p := range []Policy{{}, {Jitter: 0.25}, {Jitter: 1}, {Jitter: -1}, {Jitter: math.Inf(-1)}, {Max: 1, Min: 1}, {Max: 10, Min: 1, Jitter: 0.9}, {Max: math.MaxInt64 - 1, Stable: math.MaxInt64, Jitter: 1e-9}} {
		p = p.filled()
		_, base := p.at(1000)
		even := p.Jitter > 0.01 && p.Max > time.Second // enough of it to see
		var sum, near float64                          // of the jitter, of its steps
		before := 0.5
		for run := range int64(1000) {
			level, d := p.decide(1000, 0, true, 0, run)
			if _, again := p.decide(level, 0, true, 0, run); d < base || base < 1 || d > p.Max || d != again {
				t.Fatalf("%+v: run %d waits for %v, then %v; base %v", p, run, d, again, base)
			}
			if even {
				u := float64(d-base) / float64(base) / p.Jitter
				sum, near, before = sum+u, near+math.Abs(u-before), u
			}
		}
		// Of even chances the mean is a half, the mean step a third.
		if even && (math.Abs(sum/1000-1./2) > 0.05 || math.Abs(near/1000-1./3) > 0.05) {
			t.Errorf("%+v: jitter has mean %.3f, step %.3f", p, sum/1000, near/1000)
		}
	}
}

func TestLevel(t *testing.T) {
	p := Policy{}.filled()
	for _, tt := range []struct {
		level  int
		ran    time.Duration
		failed bool
		want   int
	}{
		{0, 0, true, 1},
		{3, 0, true, 4},
		{3, p.Stable - 1, true, 4},
		{3, p.Stable, true, 3},
		{3, 2 * p.Stable, true, 2},
		{3, math.MaxInt64, true, 1},
		{3, -p.Stable, true, 4}, // a clock that went back
		{3, p.Stable, false, 2},
		{3, 0, false, 3},
		{0, p.Stable, false, 0},
		{9, 0, true, 10},
		{10, 0, true, 10}, // the first level whose delay is the longest
		{10, p.Stable, true, 10},
		{1000, 0, true, 10}, // of a ledger that another policy wrote
		{1000, 0, false, 10},
	} {
		got, _ := p.decide(tt.level, tt.ran, tt.failed, 0, 0)
		if got != tt.want {
			t.Errorf("level %d, ran %v, failed %v: %d, want %d", tt.level, tt.ran, tt.failed, got, tt.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { p.decide(9, time.Second, true, time.Minute, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever fails faster than Stable gets to the longest delay, at any period, if Factor
// exceeds 1.
func TestNoBlindPeriod(t *testing.T) {
	for _, p := range []Policy{{}, {Factor: 1}, {Min: 2, Factor: 1.5}, {Min: 10, Factor: 1.1, Max: time.Millisecond}, {Min: 5 * time.Minute}} {
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		p = p.filled()
		for _, period := range []time.Duration{0, 10 * time.Millisecond, 2 * time.Second, 10 * time.Second, time.Minute, p.Max + 1, p.Stable - 1} {
			level, d := 0, time.Duration(0)
			for range 200 {
				level, d = p.decide(level, period, true, 0, 0)
			}
			if _, top := p.at(math.MaxInt); d < top || p.Factor > 1 && float64(top) < float64(p.Max)/(1+p.Jitter) {
				t.Errorf("%+v: failing every %v waits for %v", p, period, d)
			}
		}
	}
}

// A valid policy has some thousands of levels at most, so a forged level in a file
// takes no time.
func TestHighestLevel(t *testing.T) {
	p := Policy{Min: 101, Max: math.MaxInt64 - 1, Factor: 1.01, Stable: math.MaxInt64}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if top, d := p.filled().at(math.MaxInt32); top > 5000 || d < p.Max/2 {
		t.Errorf("level %d with %v", top, d)
	}
}

func TestValidate(t *testing.T) {
	const s, m = time.Second, time.Minute
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct {
		p    Policy
		want string
	}{
		{Policy{}, ""},
		{Policy{Min: s, Max: 5 * m, Factor: 2, Jitter: 0.1, Stable: 10 * m}, ""}, // the zero one, written out
		{Policy{Jitter: -1, Factor: 1}, ""},
		{Policy{Jitter: 1}, ""},
		{Policy{Min: 5 * m}, ""},
		{Policy{Max: s, Stable: s + 1}, ""},
		{Policy{Min: 1, Max: 1, Factor: 1.5}, ""}, // has nothing to raise
		{Policy{Min: 2, Factor: 1.5}, ""},
		{Policy{Min: -1}, "Min: -1ns is negative; 0 means 1s"},
		{Policy{Min: time.Hour}, "Max: 5m0s is less than Min, 1h0m0s; raise it or lower Min"},
		{Policy{Max: s / 2}, "Max: 500ms is less than Min, 1s; raise it or lower Min"},
		{Policy{Max: -1}, "Max: -1ns is less than Min, 1s; raise it or lower Min"},
		{Policy{Factor: 0.5}, "Factor: 0.5 must be a number of at least 1, or delays shrink; 0 means 2"},
		{Policy{Factor: -2}, "Factor: -2 must be a number of at least 1, or delays shrink; 0 means 2"},
		{Policy{Factor: nan}, "Factor: NaN must be a number of at least 1, or delays shrink; 0 means 2"},
		{Policy{Factor: inf}, "Factor: +Inf must be a number of at least 1, or delays shrink; 0 means 2"},
		{Policy{Min: 1, Factor: 1.5}, "Factor: 1.5 does not raise Min, 1ns, by a nanosecond; raise either"},
		{Policy{Factor: 1 + 1e-10}, "Factor: 1.0000000001 is under 1.01, so Max would be thousands of levels away; raise it, or set 1"},
		{Policy{Factor: 1.01}, ""},
		{Policy{Jitter: 2}, "Jitter: 2 must be a number of at most 1; 0 means 0.1, negative none"},
		{Policy{Jitter: nan}, "Jitter: NaN must be a number of at most 1; 0 means 0.1, negative none"},
		{Policy{Jitter: inf}, "Jitter: +Inf must be a number of at most 1; 0 means 0.1, negative none"},
		{Policy{Stable: 5 * m}, "Stable: 5m0s must exceed Max, 5m0s, or what fails between the two is never slowed"},
		{Policy{Stable: -1}, "Stable: -1ns must exceed Max, 5m0s, or what fails between the two is never slowed"},
		{Policy{Max: 10 * m}, "Stable: 10m0s must exceed Max, 10m0s, or what fails between the two is never slowed"},
	} {
		ran, got := false, ""
		err := tt.p.Wrap(func(context.Context) error { ran = true; return nil })(t.Context())
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "restart: ")
		}
		if got != tt.want || ran != (err == nil) || carried.IsPermanent(err) == ran {
			t.Errorf("%+v: %v, ran %v; want %s", tt.p, err, ran, tt.want)
		}
	}
	if once := (Policy{Jitter: -1}).filled(); once != once.filled() {
		t.Errorf("filled twice, %+v is %+v", once, once.filled())
	}
	if zero, full := (Policy{}).filled(), (Policy{Min: s, Max: 5 * m, Factor: 2, Jitter: 0.1, Stable: 10 * m}); zero != full {
		t.Errorf("the zero policy is %+v, documented is %+v", zero, full)
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(ctx context.Context, n int) error
		runs int
		took time.Duration
		want error
	}{
		{"nil ends it", func(context.Context, int) error { return nil }, 1, 0, nil},
		{"errors are retried", func(_ context.Context, n int) error {
			if n < 4 {
				return errRun
			}
			return nil
		}, 4, 7 * time.Second, nil},
		{"panics are retried", func(_ context.Context, n int) error {
			if n < 2 {
				panic("oh")
			}
			return nil
		}, 2, time.Second, nil},
		{"Permanent ends it", func(context.Context, int) error { return fmt.Errorf("outer: %w", Permanent(errRun)) }, 1, 0, errRun},
		{"RetryAfter raises the delay and leaves the level", func(_ context.Context, n int) error {
			switch n {
			case 1:
				return fmt.Errorf("outer: %w", RetryAfter(errRun, time.Hour))
			case 2:
				return RetryAfter(errRun, time.Millisecond)
			}
			return nil
		}, 3, time.Hour + 2*time.Second, nil},
		{"the end of ctx ends a run", func(ctx context.Context, n int) error { <-ctx.Done(); return ctx.Err() }, 1, 24 * time.Hour, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
				defer cancel()
				begin, runs := time.Now(), 0
				err := Policy{Jitter: -1, Logger: quiet}.Wrap(func(ctx context.Context) error {
					runs++
					return tt.f(ctx, runs)
				})(ctx)
				if runs != tt.runs || time.Since(begin) != tt.took || !errors.Is(err, tt.want) {
					t.Errorf("%d runs, %v, %v; want %d, %v, %v", runs, time.Since(begin), err, tt.runs, tt.took, tt.want)
				}
			})
		})
	}
}

// temporary is a foreign error that says that it is not permanent.
type temporary struct{ error }

func (temporary) Permanent() bool { return false }

// A mark counts anywhere in the chain of an error, and Wrap returns the whole error,
// with the text around the mark.
func TestMarks(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("outer: %w", err) }
	both := func(errs ...error) error { return fmt.Errorf("two: %w, %w", errs[0], errs[1]) }
	for _, tt := range []struct {
		err       error
		permanent bool
		wait      time.Duration
		text      string
	}{
		{errRun, false, 0, "run failed"},
		{temporary{errRun}, false, 0, "run failed"},
		{Permanent(errRun), true, 0, "run failed"},
		{wrap(wrap(Permanent(wrap(errRun)))), true, 0, "outer: outer: outer: run failed"},
		{wrap(errors.Join(io.EOF, wrap(errors.Join(io.EOF, Permanent(errRun))))), true, 0, "outer: EOF\nouter: EOF\nrun failed"},
		{both(temporary{io.EOF}, Permanent(errRun)), true, 0, "two: EOF, run failed"},
		{Permanent(temporary{errRun}), true, 0, "run failed"},
		{temporary{Permanent(errRun)}, false, 0, "run failed"}, // it does not unwrap
		{wrap(RetryAfter(errRun, time.Hour)), false, time.Hour, "outer: run failed"},
		{RetryAfter(errRun, -time.Hour), false, 0, "run failed"},
		{errors.Join(io.EOF, wrap(errors.Join(RetryAfter(io.EOF, time.Second), RetryAfter(errRun, time.Hour)))), false, time.Hour, "EOF\nouter: EOF\nrun failed"},
		{RetryAfter(wrap(RetryAfter(errRun, time.Hour)), time.Second), false, time.Hour, "outer: run failed"},
		{both(RetryAfter(io.EOF, time.Hour), Permanent(errRun)), true, time.Hour, "two: EOF, run failed"},
	} {
		if p, d := carried.IsPermanent(tt.err), retryAfter(tt.err); p != tt.permanent || d != tt.wait || tt.err.Error() != tt.text {
			t.Errorf("%q: permanent %v, wait %v; want %q, %v, %v", tt.err, p, d, tt.text, tt.permanent, tt.wait)
		}
		synctest.Test(t, func(t *testing.T) {
			begin, runs := time.Now(), 0
			err := Policy{Jitter: -1, Logger: quiet}.Wrap(func(context.Context) error {
				if runs++; runs > 1 {
					return nil
				}
				return tt.err
			})(t.Context())
			if took := time.Since(begin); tt.permanent && (err != tt.err || took != 0) || !tt.permanent && (err != nil || took != max(time.Second, tt.wait)) {
				t.Errorf("%q: Wrap returns %v after %v", tt.err, err, took)
			}
		})
	}
	if Permanent(nil) != nil || RetryAfter(nil, time.Second) != nil {
		t.Error("nil is marked")
	}
}

// Each wait is logged: why, how long f ran, the level, the next delay.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "stack" {
				return slog.Attr{}
			}
			return a
		}}))
		runs := 0
		_ = Policy{Jitter: -1, Logger: log}.Wrap(func(context.Context) error {
			time.Sleep(time.Minute)
			switch runs++; runs {
			case 1:
				return errRun
			case 2:
				panic("oh")
			case 3:
				return RetryAfter(errRun, time.Hour)
			}
			return Permanent(errRun)
		})(t.Context())
		want := `level=WARN msg="restart wait" error="run failed" ran=60s backoff=1 wait=1s
level=ERROR msg=panic name=restart error="panic: oh"
level=WARN msg="restart wait" error="panic: oh" ran=60s backoff=2 wait=2s
level=WARN msg="restart wait" error="run failed" ran=60s backoff=3 wait=3600s
`
		if b.String() != want {
			t.Errorf("got\n%swant\n%s", b.String(), want)
		}
	})
}

// The end of ctx ends a wait at once and leaves no goroutine. A ctx that has ended
// starts nothing.
func TestWrapWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		runs := 0
		f := Policy{Logger: quiet}.Wrap(func(context.Context) error { runs++; return errRun })
		time.AfterFunc(time.Minute, func() { cancel(io.EOF) })
		begin, goroutines := time.Now(), runtime.NumGoroutine()
		if err := f(ctx); err != io.EOF || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		synctest.Wait() // for AfterFunc's
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
		n := runs
		if err := f(ctx); err != io.EOF || runs != n {
			t.Errorf("%v, %d runs more", err, runs-n)
		}
	})
}
