package restart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errRun = errors.New("run failed")

func TestDelay(t *testing.T) {
	var got []string
	for level := -1; level <= 10; level++ {
		got = append(got, Policy{Jitter: -1}.Delay(level).String())
	}
	if want := "0s 0s 1s 2s 4s 8s 16s 32s 1m4s 2m8s 4m16s 5m0s"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
	if top := (Policy{}).Delay(1000); top != 4*time.Minute {
		t.Errorf("with jitter the largest base is %v", top)
	}
	p := Policy{}.filled()
	for run := range int64(1000) {
		if d := p.delay(1000, run); d < 4*time.Minute || d > 5*time.Minute || d != p.delay(1000, run) {
			t.Errorf("run %d waits %v, then %v", run, d, p.delay(1000, run))
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
		{3, 48 * time.Hour, true, 1},
		{3, p.Stable, false, 2},
		{0, p.Stable, false, 0},
		{9, 0, true, 9}, // the first level whose delay is the largest
		{9, p.Stable, true, 9},
	} {
		if got := p.next(tt.level, tt.ran, tt.failed); got != tt.want {
			t.Errorf("level %d, ran %v, failed %v: %d, want %d", tt.level, tt.ran, tt.failed, got, tt.want)
		}
	}
}

// Whatever fails faster than Stable gets to the longest delay, at any period.
func TestNoBlindPeriod(t *testing.T) {
	p := Policy{}.filled()
	for _, period := range []time.Duration{0, 10 * time.Millisecond, 2 * time.Second, 10 * time.Second, time.Minute, p.Max + 1, p.Stable - 1} {
		level := 0
		for range 20 {
			level = p.next(level, period, true)
		}
		if d, top := p.base(level); !top {
			t.Errorf("failing every %v waits for %v", period, d)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		p    Policy
		want string
	}{
		{Policy{}, ""},
		{Policy{Jitter: -1, Factor: 1}, ""},
		{Policy{Min: -1}, "Min"},
		{Policy{Min: time.Hour}, "Max"},
		{Policy{Factor: 0.5}, "Factor"},
		{Policy{Factor: math.NaN()}, "Factor"},
		{Policy{Factor: math.Inf(1)}, "Factor"},
		{Policy{Jitter: 2}, "Jitter"},
		{Policy{Jitter: math.NaN()}, "Jitter"},
		{Policy{Stable: 5 * time.Minute}, "Stable"},
	} {
		ran := false
		err := tt.p.Wrap(func(context.Context) error { ran = true; return nil })(t.Context())
		if tt.want == "" && (err != nil || !ran) || tt.want != "" && (ran || err == nil || !strings.HasPrefix(err.Error(), "restart: "+tt.want+":") || !isPermanent(err)) {
			t.Errorf("%+v: %v, ran %v; want %s", tt.p, err, ran, tt.want)
		}
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
		{"Permanent in a join", func(context.Context, int) error { return errors.Join(io.EOF, Permanent(errRun)) }, 1, 0, errRun},
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
				err := Policy{Jitter: -1, Logger: slog.New(slog.DiscardHandler)}.Wrap(func(ctx context.Context) error {
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

// Ending ctx ends a wait at once; one that has ended starts nothing.
func TestWrapWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		runs := 0
		f := Policy{}.Wrap(func(context.Context) error { runs++; return errRun })
		time.AfterFunc(time.Minute, func() { cancel(io.EOF) })
		begin := time.Now()
		if err := f(ctx); err != io.EOF || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		n := runs
		if err := f(ctx); err != io.EOF || runs != n {
			t.Errorf("%v, %d runs more", err, runs-n)
		}
	})
}

func TestNilMarks(t *testing.T) {
	if Permanent(nil) != nil || RetryAfter(nil, time.Second) != nil {
		t.Error("nil is marked")
	}
}
