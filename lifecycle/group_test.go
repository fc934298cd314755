package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

const s = time.Second

var errWork = errors.New("work failed")

func until(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }

// bubble runs f in a synctest bubble with a context that a flag ends.
func bubble(t *testing.T, f func(t *testing.T, ctx context.Context, flag *lifecycle.Flag)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, flag := lifecycle.WithFlag(t.Context())
		f(t, ctx, flag)
	})
}

func TestGroupRun(t *testing.T) {
	stopped := errors.New("told to stop")
	deaf := func(context.Context) error { time.Sleep(time.Minute); return nil }
	for _, tt := range []struct {
		name  string
		group func(g *lifecycle.Group)
		raise time.Duration // 0: never
		took  time.Duration
		want  string // "" for nil
	}{
		{"no task waits for ctx", func(*lifecycle.Group) {}, s, s, ""},
		{"all tasks return", func(g *lifecycle.Group) {
			g.Go("a", func(context.Context) error { time.Sleep(s); return nil })
			g.Go("b", func(context.Context) error { return nil })
		}, 0, s, ""},
		{"a stop ends the tasks", func(g *lifecycle.Group) { g.Go("a", until) }, s, s, ""},
		{"a failure ends the others", func(g *lifecycle.Group) {
			g.Go("a", until)
			g.Go("b", func(context.Context) error { time.Sleep(s); return errWork })
		}, 0, s, "lifecycle: task b: work failed"},
		{"a foreign Canceled is a failure", func(g *lifecycle.Group) {
			g.Go("a", func(context.Context) error { return context.Canceled })
		}, 0, 0, "lifecycle: task a: context canceled"},
		{"a panic", func(g *lifecycle.Group) {
			g.Go("a", until)
			g.Go("b", func(context.Context) error { panic("oh") })
		}, 0, 0, "lifecycle: task b: panic: oh"},
		{"Goexit", func(g *lifecycle.Group) {
			g.Go("a", func(context.Context) error { runtime.Goexit(); return nil })
		}, 0, 0, "lifecycle: task a: called runtime.Goexit"},
		{"failures in a drain are kept", func(g *lifecycle.Group) {
			g.Go("a", func(ctx context.Context) error { <-ctx.Done(); return errWork })
			g.Go("b", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(s); return errWork })
		}, s, 2 * s, "lifecycle: task a: work failed\nlifecycle: task b: work failed"},
		{"a deaf task is named", func(g *lifecycle.Group) { g.Go("worker", deaf) }, s, 26 * s,
			"drain: tasks: abandoned: still running at the end of its phase\nlifecycle: 1 task did not end: worker (1) at time.Sleep"},
		{"Start fails", func(g *lifecycle.Group) {
			g.Start = func(context.Context) error { return errWork }
			g.Go("a", func(context.Context) error { panic("ran") })
			g.Drain.Phases = []drain.Phase{{Name: "x", Steps: []drain.Step{{Name: "x", Stop: func(context.Context) error { panic("drained") }}}}}
		}, 0, 0, "lifecycle: start: work failed"},
		{"Start panics", func(g *lifecycle.Group) { g.Start = func(context.Context) error { panic("oh") } }, 0, 0, "lifecycle: start: panic: oh"},
		{"a stop in Start", func(g *lifecycle.Group) { g.Start = until }, s, s, ""},
		{"a stop while Start succeeds", func(g *lifecycle.Group) {
			g.Start = func(ctx context.Context) error { <-ctx.Done(); return nil }
			g.Go("a", func(context.Context) error { panic("ran") })
			g.Drain.Phases = []drain.Phase{{Name: "x", Steps: []drain.Step{{Name: "x", Stop: func(context.Context) error { return errWork }}}}}
		}, s, s, "drain: x: work failed"},
		{"a deaf Start", func(g *lifecycle.Group) { g.Start = deaf }, s, 26 * s, "lifecycle: start: lifecycle: 1 task did not end: start (1) at time.Sleep"},
		{"an invalid plan", func(g *lifecycle.Group) { g.Drain.Budget = -1 }, 0, 0, "drain: Budget: -1ns is negative; 0 means 25s"},
		{"a phase of the name that the tasks' own would have", func(g *lifecycle.Group) {
			g.Drain.Phases = []drain.Phase{{Name: "tasks", Steps: []drain.Step{{Name: "x", Stop: func(context.Context) error { return nil }}}}}
			g.Go("a", until)
		}, s, s, ""},
		{"a panic with the stop's cause", func(g *lifecycle.Group) {
			g.Go("a", func(ctx context.Context) error { <-ctx.Done(); panic(context.Cause(ctx)) })
		}, s, s, "lifecycle: task a: panic: told to stop"},
		{"a failure beside the stop's cause", func(g *lifecycle.Group) {
			g.Go("a", func(ctx context.Context) error { <-ctx.Done(); return errors.Join(ctx.Err(), errWork) })
		}, s, s, "lifecycle: task a: context canceled\nwork failed"},
		{"a permanent error", func(g *lifecycle.Group) {
			g.Go("a", func(ctx context.Context) error { <-ctx.Done(); return restart.Permanent(ctx.Err()) })
		}, s, s, "lifecycle: task a: context canceled"},
		{"a wrapped and joined cause", func(g *lifecycle.Group) {
			g.Go("a", func(ctx context.Context) error {
				<-ctx.Done()
				return errors.Join(fmt.Errorf("a: %w", ctx.Err()), context.Cause(ctx))
			})
		}, s, s, ""},
		{"a panic of a stream whose Err is never called", func(g *lifecycle.Group) {
			g.Go("a", func(ctx context.Context) error {
				for range lifecycle.Generate(ctx, 0, func(context.Context, func(int) bool) error { panic("oh") }).All() {
				}
				<-ctx.Done()
				return nil
			})
		}, 0, 0, "lifecycle: task stream: panic: oh"},
		{"a failure while tasks are launched", func(g *lifecycle.Group) {
			g.Limit = 1
			g.Go("a", func(context.Context) error { return errWork })
			g.Go("b", func(context.Context) error { return errors.New("started after the stop") })
		}, 0, 0, "lifecycle: task a: work failed"},
		{"Step is called for nothing, and a task is deaf", func(g *lifecycle.Group) {
			g.Step()
			g.Drain.Phases = []drain.Phase{{Name: "x", Steps: []drain.Step{{Name: "x", Stop: deaf}}}}
			g.Go("worker", deaf)
		}, s, 27 * s, "drain: x: abandoned: still running at the end of its phase\ndrain: tasks: abandoned"},
		{"Step is not in the plan that it was called for", func(g *lifecycle.Group) {
			g.Step()
			g.Drain.Phases = []drain.Phase{{Name: "x", Steps: []drain.Step{{Name: "x", Stop: func(context.Context) error { return nil }}}}}
			g.Go("a", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(s); return nil })
		}, s, 2 * s, ""},
		{"an invalid limit", func(g *lifecycle.Group) { g.Limit = -1 }, 0, 0, "lifecycle: Group.Limit: -1 is negative; 0 means any number"},
		{"a limit", func(g *lifecycle.Group) {
			g.Limit = 2
			for range 6 {
				g.Go("a", func(context.Context) error { time.Sleep(s); return nil })
			}
		}, 0, 3 * s, ""},
		{"a stop at the limit", func(g *lifecycle.Group) {
			g.Limit = 1
			g.Go("a", until)
			g.Go("b", func(context.Context) error { panic("ran") })
		}, s, s, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
				var g lifecycle.Group
				tt.group(&g)
				begin := time.Now()
				if tt.raise > 0 {
					time.AfterFunc(tt.raise, func() { flag.Raise(stopped) })
				}
				var wg sync.WaitGroup
				for range 2 { // concurrent callers get the same
					wg.Go(func() {
						err := g.Run(ctx)
						got := ""
						if err != nil {
							got = err.Error()
						}
						if (tt.want == "" && got != "") || !strings.HasPrefix(got, tt.want) || time.Since(begin) != tt.took {
							t.Errorf("after %v:\n%s\nwant, after %v:\n%s", time.Since(begin), got, tt.took, tt.want)
						}
					})
				}
				wg.Wait()
				if err := g.Go("late", until); err != lifecycle.ErrStopped {
					t.Errorf("Go after Run: %v", err)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestGroupRunInOwnTask(t *testing.T) {
	var g lifecycle.Group
	g.Go("a", func(ctx context.Context) error { return g.Run(ctx) })
	if err := g.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "panic: lifecycle: Group.Run called by one of its own tasks") {
		t.Error(err)
	}
}

// The order of a stop, as Run's doc comment lists it.
func TestGroupOrder(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var g lifecycle.Group
		var got []string
		ready := func() string {
			w := httptest.NewRecorder()
			g.Readyz(w, httptest.NewRequest("GET", "/readyz", nil))
			if ok := strings.HasPrefix(w.Body.String(), "ready"); ok != (w.Code == http.StatusOK) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			return strings.TrimSpace(w.Body.String())
		}
		var mu sync.Mutex
		say := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, what+", "+ready())
		}
		say("before")
		g.Start = func(context.Context) error { say("start"); return nil }
		g.Go("task", func(ctx context.Context) error {
			say("task")
			<-drain.Stopping(ctx).Done()
			say("told")
			if ctx.Err() != nil {
				t.Error("cancelled before its phase")
			}
			<-ctx.Done()
			say("cancelled for " + context.Cause(ctx).Error())
			return nil
		})
		phase := func(name string, step drain.Step) drain.Phase {
			return drain.Phase{Name: name, Steps: []drain.Step{step}}
		}
		says := func(name string) drain.Phase {
			return phase(name, drain.Step{Name: name, Stop: func(context.Context) error { time.Sleep(s); say(name); return nil }})
		}
		g.Drain.Phases = []drain.Phase{says("requests"), phase("tasks", g.Step()), says("db")}
		time.AfterFunc(s, func() { flag.Raise(errors.New("deploy")) })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		say("after")
		want := []string{
			"before, not started", "start, starting", "task, ready", "told, draining: deploy", "requests, draining: deploy",
			"cancelled for deploy, draining: deploy", "db, draining: deploy", "after, stopped: deploy",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestGroupForce(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var g lifecycle.Group
		g.Drain.Phases = []drain.Phase{{Name: "long", Steps: []drain.Step{{Name: "long", Stop: until}}}}
		var why error
		g.Go("a", func(ctx context.Context) error { <-ctx.Done(); why = context.Cause(ctx); return nil })
		first := errors.New("first")
		time.AfterFunc(s, func() { flag.Raise(first) })
		time.AfterFunc(3*s, func() { flag.Raise(errors.New("second")) })
		begin := time.Now()
		err := g.Run(ctx)
		if time.Since(begin) != 3*s || err == nil || why != first {
			t.Errorf("after %v: %v; the task was cancelled for %v", time.Since(begin), err, why)
		}
	})
}

func TestGroupNested(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var g lifecycle.Group
		g.Go("request", func(ctx context.Context) error {
			var in lifecycle.Group
			in.Go("stream", func(ctx context.Context) error {
				<-drain.Stopping(ctx).Done() // the outer group's stop
				if ctx.Err() != nil {
					t.Error("cancelled by the announcement")
				}
				return nil
			})
			return in.Run(ctx)
		})
		time.AfterFunc(s, func() { flag.Raise(nil) })
		g.Drain.Phases = []drain.Phase{{Name: "wait", Steps: []drain.Step{{Name: "wait", Stop: func(context.Context) error { time.Sleep(s); return nil }}}}}
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// Another plan than the group's own may run its Step: then Run returns.
func TestGroupStepInAnotherPlan(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, _ *lifecycle.Flag) {
		var g lifecycle.Group
		g.Go("a", func(ctx context.Context) error { <-ctx.Done(); time.Sleep(s); return nil })
		plan := drain.Plan{Phases: []drain.Phase{{Name: "tasks", Steps: []drain.Step{g.Step()}}}}
		time.AfterFunc(s, func() {
			if _, err := plan.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		begin := time.Now()
		if err := g.Run(ctx); err != nil || time.Since(begin) != 2*s {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// A Step that comes before the tasks keeps them from starting. It neither ends the
// context of Start nor waits for Start.
func TestGroupStepBeforeTasks(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, _ *lifecycle.Flag) {
		g := lifecycle.Group{Start: func(ctx context.Context) error { time.Sleep(2 * s); return ctx.Err() }}
		g.Go("a", func(context.Context) error { panic("ran") })
		plan := drain.Plan{Phases: []drain.Phase{{Name: "tasks", Steps: []drain.Step{g.Step()}}}}
		time.AfterFunc(s, func() {
			if r, err := plan.Run(ctx); err != nil || r.Took != 0 {
				t.Errorf("the other plan took %v: %v", r.Took, err)
			}
		})
		begin := time.Now()
		if err := g.Run(ctx); err != nil || time.Since(begin) != 2*s {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// The last Go before the end is refused, or Run waits for its task.
func TestGroupLateGo(t *testing.T) {
	for range 2000 {
		var g lifecycle.Group
		var ran, accepted atomic.Int64
		task := func(context.Context) error { time.Sleep(time.Microsecond); ran.Add(1); return nil }
		g.Go("first", func(context.Context) error { return nil })
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for g.Go("late", task) == nil {
					if accepted.Add(1) > 50 {
						return
					}
				}
			})
		}
		if err := g.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if wg.Wait(); ran.Load() != accepted.Load() {
			t.Fatalf("Go accepted %d tasks, %d of them ran", accepted.Load(), ran.Load())
		}
	}
}

type key struct{}

// Stopping keeps what callers put into the context: values, and its own end.
func TestStoppingOfDerived(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var g lifecycle.Group
		g.Drain.Phases = []drain.Phase{{Name: "wait", Steps: []drain.Step{{Name: "wait", Stop: func(context.Context) error { time.Sleep(s); return nil }}}}}
		g.Go("a", func(ctx context.Context) error {
			withValue := context.WithValue(ctx, key{}, "kept")
			short, cancel := context.WithTimeout(withValue, s)
			defer cancel()
			for _, soft := range []context.Context{drain.Stopping(withValue), drain.Stopping(short), drain.Stopping(drain.Stopping(withValue))} {
				if soft.Value(key{}) != "kept" || soft.Err() != nil {
					t.Errorf("value %v, %v", soft.Value(key{}), soft.Err())
				}
			}
			<-drain.Stopping(short).Done()
			if err := drain.Stopping(short).Err(); err != context.DeadlineExceeded {
				t.Errorf("the end of a derived context is %v", err)
			}
			flag.Raise(errWork)
			child, cancel := context.WithCancel(drain.Stopping(withValue))
			defer cancel()
			<-child.Done()
			if ctx.Err() != nil || context.Cause(child) != errWork {
				t.Errorf("%v, %v", ctx.Err(), context.Cause(child))
			}
			return nil
		})
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
