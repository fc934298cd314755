package drain_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(map[string]func(){"activated": activated, "listens": listens})
	goleak.VerifyTestMain(m)
}

// asked returns a context as a signal hook makes it, and what its second signal does.
func asked(at time.Time) (context.Context, context.CancelFunc) {
	forced, force := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("told to stop"))
	return context.WithValue(ctx, carried.StopKey, &carried.Stop{Asked: func() time.Time { return at }, Force: forced}), force
}

// The behaviours of a step under test.
func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func deaf(d time.Duration) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return nil }
}

func phase(name string, timeout, reserve time.Duration, steps ...drain.Step) drain.Phase {
	return drain.Phase{Name: name, Timeout: timeout, Reserve: reserve, Steps: steps}
}

func step(stop func(context.Context) error) drain.Step { return drain.Step{Name: "s", Stop: stop} }

// outcomes is a report in one line: what became of each step and when.
func outcomes(r drain.Report) string {
	var all []string
	for _, s := range r.Results {
		all = append(all, fmt.Sprintf("%s/%s %s %v", s.Phase, s.Step, s.Outcome, s.Took))
	}
	return strings.Join(all, "; ")
}

const s = time.Second

func TestPlanTimes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		budget time.Duration
		phases []drain.Phase
		took   time.Duration
		want   string
	}{
		{"zero", 0, nil, 0, ""},
		{"no steps", 0, []drain.Phase{phase("a", 0, 0)}, 0, ""},
		{"unspent time flows on", 10 * s,
			[]drain.Phase{phase("a", 5*s, 0, step(takes(1*s))), phase("b", 0, 0, step(takes(8*s)))},
			9 * s, "a/s ok 1s; b/s ok 8s"},
		{"a timeout keeps a tenth for Kill", 0,
			[]drain.Phase{phase("a", 5*s, 0, step(takes(9*s)))},
			4500 * time.Millisecond, "a/s timeout 4.5s"},
		{"and a second at most", 60 * s,
			[]drain.Phase{phase("a", 20*s, 0, step(takes(30*s)))},
			19 * s, "a/s timeout 19s"},
		{"a deaf step is abandoned", 10 * s,
			[]drain.Phase{phase("a", 4*s, 0, step(deaf(20*s))), phase("b", 0, s, step(takes(0)))},
			4 * s, "a/s abandoned 4s; b/s ok 0s"},
		{"a reserve is sure", 10 * s,
			[]drain.Phase{phase("a", 0, 0, step(deaf(20*s))), phase("b", 0, 3*s, step(deaf(20*s))), phase("c", 0, 2*s, step(deaf(20*s)))},
			10 * s, "a/s abandoned 1.666666666s; b/s abandoned 3.166666667s; c/s abandoned 5.166666667s"},
		{"a late timeout yields to the reserve", 10 * s,
			[]drain.Phase{phase("a", 10*s, 0, step(deaf(20*s))), phase("b", 0, 3*s, step(deaf(20*s)))},
			10 * s, "a/s abandoned 7s; b/s abandoned 3s"},
		{"equal shares", 9 * s,
			[]drain.Phase{phase("a", 0, 0, step(deaf(20*s))), phase("b", 0, 0, step(deaf(20*s))), phase("c", 0, 0, step(deaf(20*s)))},
			9 * s, "a/s abandoned 3s; b/s abandoned 3s; c/s abandoned 3s"},
		{"Kill ends a deaf Stop", 10 * s,
			[]drain.Phase{phase("a", 5*s, 0, killed(200*time.Millisecond))},
			4700 * time.Millisecond, "a/s killed 4.7s"},
		{"a slow Kill is abandoned", 10 * s,
			[]drain.Phase{phase("a", 5*s, 0, killed(time.Minute))},
			5 * s, "a/s abandoned 5s"},
		{"side by side", 10 * s,
			[]drain.Phase{phase("a", 0, 0, drain.Step{Name: "x", Stop: takes(2 * s)}, drain.Step{Name: "y", Stop: takes(3 * s)})},
			3 * s, "a/x ok 2s; a/y ok 3s"},
		{"failures do not stop the rest", 10 * s,
			[]drain.Phase{
				phase("a", 0, 0,
					drain.Step{Name: "error", Stop: func(context.Context) error { return errors.New("no") }},
					drain.Step{Name: "panic", Stop: func(context.Context) error { panic("oh") }},
					drain.Step{Name: "exit", Stop: func(context.Context) error { runtime.Goexit(); return nil }}),
				phase("b", 0, 0, step(takes(s)))},
			s, "a/error error 0s; a/panic panic 0s; a/exit error 0s; b/s ok 1s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := drain.Plan{Budget: tt.budget, Phases: tt.phases, Logger: slog.New(slog.DiscardHandler)}
				start := time.Now()
				r, err := p.Run(t.Context())
				if took := time.Since(start); took != tt.took || r.Took != took {
					t.Errorf("took %v, report says %v; want %v", took, r.Took, tt.took)
				}
				if got := outcomes(r); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if failed := strings.Count(tt.want, ";")+1 != strings.Count(tt.want, " ok ") && tt.want != ""; failed != (err != nil) {
					t.Errorf("error is %v", err)
				}
				time.Sleep(2 * time.Minute) // what was abandoned ends
			})
		})
	}
}

// killed is a step whose Stop is deaf until Kill, which takes d. It polls, as a
// channel made outside the bubble would block it for ever.
func killed(d time.Duration) drain.Step {
	var freed atomic.Bool
	return drain.Step{
		Name: "s",
		Stop: func(context.Context) error {
			for !freed.Load() {
				time.Sleep(time.Millisecond)
			}
			return nil
		},
		Kill: func() { time.Sleep(d - time.Microsecond); freed.Store(true) },
	}
}

func TestPlanSignalTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		ago  time.Duration
		want string
	}{
		{"just now", 0, "a/s abandoned 8s; b/s abandoned 2s"},
		{"a while", 5 * s, "a/s abandoned 3s; b/s abandoned 2s"},
		// Late, the reserve is given all the same, and a last second for the Kill of what has none.
		{"too long", time.Minute, "a/s abandoned 1s; b/s abandoned 2s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, _ := asked(time.Now().Add(-tt.ago))
				p := drain.Plan{Budget: 10 * s, Phases: []drain.Phase{
					phase("a", 8*s, 0, step(deaf(20*s))),
					phase("b", 0, 2*s, step(deaf(20*s))),
				}}
				if r, _ := p.Run(ctx); outcomes(r) != tt.want {
					t.Errorf("got  %s\nwant %s", outcomes(r), tt.want)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestPlanForce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		want  string
	}{
		// The first phase's Stops end, and its Kills are called. The second has no reserve: its
		// Stop is not called. The third has one, and gets it.
		{"before Run", -s, "a/deaf skipped 0s; a/kind skipped 0s; b/s skipped 0s; c/s timeout 900ms"},
		{"at once", 1, "a/deaf killed 1ns; a/kind timeout 1ns; b/s skipped 0s; c/s timeout 900ms"},
		{"in the first phase", s, "a/deaf killed 1s; a/kind timeout 1s; b/s skipped 0s; c/s timeout 900ms"},
		{"in the second", 6 * s, "a/deaf killed 4.5s; a/kind timeout 4.5s; b/s timeout 1.5s; c/s timeout 900ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, force := asked(time.Now())
				if tt.after < 0 {
					force()
				} else {
					time.AfterFunc(tt.after, force)
				}
				freed := make(chan struct{})
				p := drain.Plan{Budget: 20 * s, Phases: []drain.Phase{
					phase("a", 5*s, 0,
						drain.Step{Name: "deaf", Stop: func(context.Context) error { <-freed; return nil }, Kill: func() { close(freed) }},
						drain.Step{Name: "kind", Stop: takes(20 * s)}),
					phase("b", 5*s, 0, step(takes(20*s))),
					phase("c", 0, s, step(takes(20*s))),
				}}
				r, err := p.Run(ctx)
				if got := outcomes(r); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if !r.Forced || !errors.Is(err, context.Canceled) {
					t.Errorf("Forced %v, error %v", r.Forced, err)
				}
			})
		})
	}
}

// A phase that was forced before it began keeps within its Timeout too.
func TestPlanForceTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, force := asked(time.Now())
		force()
		p := drain.Plan{Budget: 20 * s, Phases: []drain.Phase{
			phase("a", 300*ms, 0, drain.Step{Name: "s", Stop: takes(s), Kill: func() { time.Sleep(s) }}),
		}}
		if r, _ := p.Run(ctx); outcomes(r) != "a/s abandoned 300ms" {
			t.Error(outcomes(r))
		}
		time.Sleep(s)
	})
}

// A step that returns an error about a panic did not panic itself: the error is
// kept whole.
func TestPlanWithin(t *testing.T) {
	within := drain.Plan{Logger: slog.New(slog.DiscardHandler), Phases: []drain.Phase{
		phase("b", 0, 0, step(func(context.Context) error { panic("oh") })),
		phase("c", 0, 0, step(func(context.Context) error { return errors.New("no") })),
	}}
	p := drain.Plan{Phases: []drain.Phase{phase("a", 0, 0, step(func(ctx context.Context) error {
		_, err := within.Run(ctx)
		return err
	}))}}
	_, err := p.Run(t.Context())
	if want := "drain: a: s: b: s: panic: panic: oh\ndrain: c: s: no"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

// A Plan is data: runs do not share anything, not even of copies or side by side.
func TestPlanIsData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		p := drain.Plan{Phases: []drain.Phase{phase("a", 0, 0, step(func(context.Context) error {
			time.Sleep(time.Duration(calls.Add(1)) * s)
			return errors.New("no")
		}))}}
		start := time.Now()
		var wg sync.WaitGroup
		took := make([]time.Duration, 3)
		for i, p := range []drain.Plan{p, p, p} {
			wg.Go(func() {
				r, err := p.Run(t.Context())
				if took[i] = r.Took; time.Since(start) != r.Took || err == nil || len(r.Results) != 1 {
					t.Errorf("after %v: %v, %v", time.Since(start), r, err)
				}
			})
		}
		wg.Wait()
		if slices.Sort(took); !slices.Equal(took, []time.Duration{s, 2 * s, 3 * s}) {
			t.Errorf("the runs took %v", took)
		}
		if p.Run(t.Context()); calls.Load() != 4 {
			t.Errorf("Stop was called %d times", calls.Load())
		}
	})
}

// Do and Close take what closes without an error, and what was never opened.
func TestPlanCloses(t *testing.T) {
	closed := ""
	var pool *strings.Builder // opened after the plan was made
	p := drain.Plan{Phases: []drain.Phase{phase("a", 0, 0,
		drain.Do("pool", func() { closed = pool.String() }),
		drain.Close("nil", nil),
		drain.Close("file", &os.File{}))}}
	pool = new(strings.Builder)
	pool.WriteString("closed")
	r, err := p.Run(t.Context())
	if closed != "closed" || err == nil || r.Results[0].Outcome != drain.OK || r.Results[1].Outcome != drain.OK {
		t.Errorf("%q, %v, %v", closed, err, r)
	}
}

type testKey struct{}

func TestPlanContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), testKey{}, "kept"))
		cancel()
		p := drain.Plan{Phases: []drain.Phase{phase("a", 2*s, 0, step(func(ctx context.Context) error {
			if ctx.Err() != nil || ctx.Value(testKey{}) != "kept" {
				t.Errorf("context of a step: %v, value %v", ctx.Err(), ctx.Value(testKey{}))
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}))}}
		_, err := p.Run(ctx)
		if want := "drain: a: s: timeout: out of time in phase a"; err == nil || err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, want)
		}
	})
}

// go vet finds a copied gate, and allows a copied plan.
func TestVetCopy(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("skipped: no go command to vet with:", err)
	}
	program := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(program, []byte(`package main

import "github.com/evenkeel-go/evenkeel/drain"

func main() {
	p, g := new(drain.Plan), new(drain.Gate)
	q := *p
	h := *g
	_, _ = &q, &h
}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool, "vet", program).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "main.go:8:7: assignment copies lock value to h") || strings.Contains(string(out), "main.go:7") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPlanValidate(t *testing.T) {
	ok := step(takes(0))
	for _, tt := range []struct {
		plan drain.Plan
		want string // in the error
	}{
		{drain.Plan{}, ""},
		{drain.Plan{Budget: -1}, "Budget: -1ns is negative"},
		{drain.Plan{Phases: []drain.Phase{phase("", 0, 0, ok)}}, "phase 1: Name"},
		{drain.Plan{Phases: []drain.Phase{phase("a", -1, 0)}}, `phase "a": Timeout`},
		{drain.Plan{Phases: []drain.Phase{phase("a", 0, -1)}}, `phase "a": Reserve`},
		{drain.Plan{Phases: []drain.Phase{phase("a", 1, 2)}}, `phase "a": Timeout: 1ns is under Reserve`},
		{drain.Plan{Phases: []drain.Phase{phase("a", 0, 0), phase("a", 0, 0)}}, `phase "a": Name: used twice`},
		{drain.Plan{Phases: []drain.Phase{phase("a", 0, 0, ok, ok)}}, `phase "a": Steps: "s" is used twice`},
		{drain.Plan{Phases: []drain.Phase{phase("a", 0, 0, step(nil))}}, `"s" has a nil Stop`},
		{drain.Plan{Phases: []drain.Phase{phase("a", 0, 0, drain.Step{Stop: ok.Stop})}}, "step 1 has no Name"},
		{drain.Plan{Phases: []drain.Phase{phase("a", 0, 20*s), phase("b", 0, 6*s)}}, `phase "b": Reserve: 6s and the 20s of earlier phases are over the Budget, 25s`},
	} {
		_, err := tt.plan.Run(t.Context())
		if got := fmt.Sprint(err); tt.want == "" && err != nil || !strings.Contains(got, tt.want) || strings.Contains(got, "\n") {
			t.Errorf("got %v, want %v", err, tt.want)
		}
	}
}

// An abandoned step is reported with its own stack and not its neighbours', and
// says so once when it does return.
func TestPlanAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := drain.Plan{Budget: 2 * s, Logger: slog.New(slog.NewTextHandler(&log, nil)), Phases: []drain.Phase{
			phase("a", 0, 0, drain.Step{Name: "stuck", Stop: stuckInStop}, drain.Step{Name: "other", Stop: otherInStop, Kill: func() { time.Sleep(9 * s) }}),
		}}
		r, _ := p.Run(t.Context())
		for i, own := range []string{"stuckInStop", "otherInStop"} {
			if got := r.Results[i].Stack; !strings.Contains(got, own) || strings.Contains(got, []string{"otherInStop", "stuckInStop"}[i]) {
				t.Errorf("stack of %s:\n%s", r.Results[i].Step, got)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for line, n := range map[string]int{
			`"abandoned step returned"`:                                1 + 1,
			`"abandoned step returned" phase=a step=stuck took=5s `:    1,
			`"abandoned step returned" phase=a step=other took=10.8s `: 1, // and not also when Stop did
			`stack="time.Sleep `:                                       2,
		} {
			if strings.Count(log.String(), line) != n {
				t.Errorf("not %d times %s in the log:\n%s", n, line, log.String())
			}
		}
	})
}

func stuckInStop(context.Context) error { time.Sleep(5 * s); return nil }
func otherInStop(context.Context) error { time.Sleep(5 * s); return nil }
