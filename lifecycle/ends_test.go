package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

func sleeps(d time.Duration) drain.Step {
	return drain.Step{Name: "sleeps", Stop: func(context.Context) error { time.Sleep(d); return nil }}
}

// The report of a group is the caller's, and its plan's phases stay as they are.
func TestGroupCopies(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		phases := []drain.Phase{{Name: "a", Steps: []drain.Step{sleeps(0)}}, {Name: "mine"}}
		g := lifecycle.Group{Drain: drain.Plan{Phases: phases[:1]}}
		g.Go("t", until)
		time.AfterFunc(s, func() { flag.Raise(nil) })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		if phases[1].Name != "mine" {
			t.Errorf("Run wrote phase %q into the caller's array", phases[1].Name)
		}
		r, _ := g.Report()
		slices.Reverse(r.Results)
		if again, _ := g.Report(); again.Results[0].Phase != "a" {
			t.Errorf("a caller changed the report: %v", again)
		}
	})
}

// If no phase of the plan ends the tasks, they end after it. A second stop forces that
// too, and the report says so.
func TestGroupForcedAfterPlan(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var g lifecycle.Group
		g.Step()
		g.Drain.Phases = []drain.Phase{{Name: "a", Steps: []drain.Step{sleeps(s)}}}
		g.Go("slow", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(5 * s); return nil })
		time.AfterFunc(s, func() { flag.Raise(nil) })
		time.AfterFunc(3*s, func() { flag.Raise(nil) })
		g.Run(ctx)
		if r, _ := g.Report(); !r.Forced {
			t.Errorf("not forced: %v", r)
		}
		time.Sleep(10 * s)
	})
}

// A group whose tasks all ended before the plan did takes no more after Run, even if
// Step was called and is in no phase.
func TestGroupShutAfterPlan(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var g lifecycle.Group
		g.Step()
		g.Drain.Phases = []drain.Phase{{Name: "a", Steps: []drain.Step{sleeps(s)}}}
		var of context.Context
		g.Go("t", func(ctx context.Context) error { of = ctx; return nil })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		if err := g.Go("late", func(context.Context) error { t.Error("ran after Run"); return nil }); err != lifecycle.ErrStopped {
			t.Errorf("Go: %v", err)
		}
		if of.Err() == nil {
			t.Error("the tasks' context is alive after Run")
		}
	})
}

// After Run the tasks' context has ended, even if there was nothing to drain: what a
// task started by a bare go sees it.
func TestGroupContextEnds(t *testing.T) {
	var g lifecycle.Group
	var of context.Context
	g.Go("t", func(ctx context.Context) error { of = ctx; return nil })
	if err := g.Run(t.Context()); err != nil || of.Err() == nil {
		t.Errorf("Run: %v; the context of its tasks: %v", err, of.Err())
	}
}

// The budget counts from the signal, even if Start ends some time later.
func TestGroupBudgetSinceSignal(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Drain: drain.Plan{Budget: 10 * s, Phases: []drain.Phase{{Name: "a", Steps: []drain.Step{sleeps(0)}}}}}
		g.Start = func(context.Context) error { time.Sleep(5 * s); return nil }
		time.AfterFunc(s, func() { flag.Raise(nil) })
		begin := time.Now()
		g.Run(ctx)
		if r, _ := g.Report(); r.Deadline.Sub(begin) != 11*s {
			t.Errorf("the drain may last until %v; the signal came at 1s, the budget is 10s", r.Deadline.Sub(begin))
		}
	})
}

// If ctx has ended before Run, Start is not called.
func TestGroupEndedBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := lifecycle.Group{Start: func(context.Context) error { t.Error("called"); return errWork }}
	if err := g.Run(ctx); err != nil {
		t.Error(err)
	}
}

// An emptyError wraps a list of no errors.
type emptyError struct{}

func (emptyError) Error() string   { return "empty" }
func (emptyError) Unwrap() []error { return nil }

// An error that only looks like a stop is not lost.
func TestGroupKeepsErrors(t *testing.T) {
	canceled := lifecycle.Group{Start: func(context.Context) error { return context.Canceled }}
	if err := canceled.Run(t.Context()); fmt.Sprint(err) != "lifecycle: start: context canceled" {
		t.Errorf("Start was not stopped: %v", err)
	}
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var g lifecycle.Group
		g.Go("t", func(ctx context.Context) error { <-ctx.Done(); return emptyError{} })
		time.AfterFunc(s, func() { flag.Raise(nil) })
		if err := g.Run(ctx); !errors.Is(err, emptyError{}) {
			t.Errorf("a list of no errors: %v", err)
		}
	})
}

// A plan's Progress counts the live tasks once the group's Step waits for them.
func TestGroupProgress(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var got []string
		g := lifecycle.Group{Drain: drain.Plan{Progress: func(left int, _ time.Time) { got = append(got, fmt.Sprint(left)) }}}
		for i := range 3 {
			g.Go("t", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Duration(i)*s + s/2); return nil })
		}
		time.AfterFunc(s, func() { flag.Raise(nil) })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		if all := strings.Join(got, " "); !strings.HasSuffix(all, " 3 2 0") { // the step, and the tasks that live after 1 s and 2 s
			t.Errorf("got %s", all)
		}
	})
}

// A plan that was forced before the phase of the tasks finds none: its Step is skipped at
// once, and nothing is abandoned.
func TestGroupForcedWithoutTasks(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var g lifecycle.Group
		g.Drain.Phases = []drain.Phase{{Name: "long", Steps: []drain.Step{{Name: "long", Stop: until}}}, {Name: "tasks", Steps: []drain.Step{g.Step()}}}
		g.Go("t", func(context.Context) error { return nil })
		time.AfterFunc(s, func() { flag.Raise(nil); time.Sleep(s); flag.Raise(nil) })
		begin := time.Now()
		g.Go("short", func(context.Context) error { time.Sleep(s / 2); return nil })
		g.Run(ctx)
		r, _ := g.Report()
		if len(r.Results) != 2 || r.Results[1].Outcome != drain.Skipped || r.Results[1].Took != 0 {
			t.Errorf("after %v: %v", time.Since(begin), r)
		}
	})
}

// Whatever sees the end of a flag's context sees the flag raised.
func TestFlagRaisedFirst(t *testing.T) {
	for range 200 {
		ctx, flag := lifecycle.WithFlag(t.Context())
		var ends []context.CancelFunc
		for range 100 { // to end them takes the Raise some time
			_, end := context.WithCancel(ctx)
			ends = append(ends, end)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if <-ctx.Done(); !flag.Raised() {
				t.Error("the context has ended, and the flag is not raised")
			}
		})
		flag.Raise(nil)
		wg.Wait()
		for _, end := range ends {
			end()
		}
	}
}

// Calls of Raise that come at once are one.
func TestFlagRaisedAtOnce(t *testing.T) {
	for range 500 {
		bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { flag.Raise(nil) })
			}
			if wg.Wait(); carried.StopOf(ctx).Force.Err() != nil {
				t.Error("forced")
			}
		})
	}
}

// Run gives up on a Start that ignores the stop: after the Budget, or at a second stop. If
// Start then returns what only obeys the stop, nothing is logged.
func TestGroupGivesUpOnStart(t *testing.T) {
	for _, second := range []bool{false, true} {
		bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
			var out strings.Builder
			g := lifecycle.Group{Drain: drain.Plan{Budget: 10 * s}, Logger: slog.New(slog.NewTextHandler(&out, nil))}
			g.Start = func(ctx context.Context) error { time.Sleep(time.Minute); return ctx.Err() }
			time.AfterFunc(s, func() { flag.Raise(nil) })
			want := 11 * s
			if second {
				want = 3 * s
				time.AfterFunc(want, func() { flag.Raise(nil) })
			}
			begin := time.Now()
			err := g.Run(ctx)
			var leak *lifecycle.LeakError
			if took := time.Since(begin); took != want || !errors.As(err, &leak) {
				t.Errorf("after %v: %v", took, err)
			}
			time.Sleep(2 * time.Minute)
			if strings.Contains(out.String(), "task failed") {
				t.Error(out.String())
			}
		})
	}
}

// A group that a stop reached during Start is never ready.
func TestGroupNeverReady(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Start: func(ctx context.Context) error { <-ctx.Done(); return nil }}
		g.Notify = func(st lifecycle.Status) {
			w := httptest.NewRecorder()
			if g.Readyz(w, nil); w.Code == http.StatusOK {
				t.Errorf("ready, at %v", st)
			}
		}
		time.AfterFunc(s, func() { flag.Raise(nil) })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A LeakError names every task that is left, even if all names were new at once, and none
// that ended after Kill.
func TestLeakErrorNamesAll(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
			g := lifecycle.Group{Logger: slog.New(slog.DiscardHandler)}
			g.Go("ends late", func(context.Context) error { time.Sleep(25*s + s/2); return nil })
			want := []string{}
			for i := range 8 {
				name := fmt.Sprint("deaf ", i)
				want = append(want, name)
				go g.Go(name, func(context.Context) error { time.Sleep(time.Hour); return nil })
			}
			time.AfterFunc(s, func() { flag.Raise(nil) }) // Kill comes 24 s later
			var leak *lifecycle.LeakError
			if err := g.Run(ctx); !errors.As(err, &leak) {
				t.Fatal(err)
			}
			var got []string
			for _, l := range leak.Found {
				got = append(got, l.Task)
			}
			if slices.Sort(got); !slices.Equal(got, want) || leak.Live != 8 {
				t.Errorf("%d left: %q", leak.Live, got)
			}
			time.Sleep(2 * time.Hour)
		})
		if t.Failed() {
			break
		}
	}
}

// A Go beside the launch is not lost: its task is in the queue, or starts at once.
func TestGroupGoBesideLaunch(t *testing.T) {
	for range 1000 {
		var g lifecycle.Group
		var ran, accepted atomic.Int64
		task := func(context.Context) error { ran.Add(1); return nil }
		g.Go("first", task)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 100 {
					if g.Go("t", task) == nil {
						accepted.Add(1)
					}
				}
			})
		}
		for accepted.Load() < 30 { // now they contend
			runtime.Gosched()
		}
		g.Run(context.Background())
		if wg.Wait(); ran.Load() != accepted.Load()+1 {
			t.Fatalf("%d accepted, %d ran", accepted.Load()+1, ran.Load())
		}
	}
}

// A producer that obeys Close leaves no error, however soon it sees the end.
func TestStreamObeysAtOnce(t *testing.T) {
	for range 20 {
		begun := make(chan struct{})
		ends := make([]context.CancelFunc, 2000)
		st := lifecycle.Generate(t.Context(), 0, func(ctx context.Context, _ func(int) bool) error {
			for i := range ends { // to end them takes Close some time
				_, ends[i] = context.WithCancel(ctx)
			}
			close(begun)
			<-ctx.Done()
			return context.Canceled
		})
		<-begun
		if err := st.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, end := range ends {
			end()
		}
	}
}

// A stuckHandler is a log handler that does not return.
type stuckHandler struct{ slog.Handler }

func (stuckHandler) Enabled(context.Context, slog.Level) bool { return true }
func (stuckHandler) Handle(ctx context.Context, _ slog.Record) error {
	time.Sleep(time.Hour)
	return nil
}

// A log handler that is stuck holds Run up until the budget is over, which counts from
// the signal.
func TestGroupLogsWithinBudget(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Logger: slog.New(stuckHandler{}), Drain: drain.Plan{Budget: 10 * s}}
		g.Start = func(context.Context) error { time.Sleep(5 * s); return nil }
		time.AfterFunc(s, func() { flag.Raise(nil) })
		begin := time.Now()
		if err := g.Run(ctx); err != nil || time.Since(begin) != 11*s {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		time.Sleep(24 * time.Hour)
	})
}

// Once the stop has begun, the status does not go back to waiting.
func TestGroupNotifyWaitsNoMore(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Start: func(ctx context.Context) error {
			<-ctx.Done()
			carried.Wait(ctx, "lock", time.Time{})
			return nil
		}}
		g.Notify = func(st lifecycle.Status) {
			if st.Waiting != "" {
				t.Errorf("notified of %v", st)
			}
		}
		time.AfterFunc(s, func() { flag.Raise(nil) })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
