package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// Run once dropped the report. A caller who used g.Drain.Run to get it stopped
// everything a second time.
func TestGroupReport(t *testing.T) {
	ok := drain.Step{Name: "s", Stop: func(context.Context) error { time.Sleep(s); return nil }}
	deaf := drain.Step{Name: "s", Stop: func(context.Context) error { time.Sleep(time.Hour); return nil }}
	phases := func(steps ...drain.Step) (ps []drain.Phase) {
		for i, step := range steps {
			ps = append(ps, drain.Phase{Name: fmt.Sprint("p", i), Steps: []drain.Step{step}})
		}
		return ps
	}
	for _, tt := range []struct {
		name  string
		group func(g *lifecycle.Group)
		want  string // the results, how long they took, and the budget; "none" without a report
	}{
		{"nothing to drain", func(g *lifecycle.Group) {}, " 0s 0s"},
		{"all tasks have returned", func(g *lifecycle.Group) { g.Go("a", func(context.Context) error { return nil }) }, " 0s 0s"},
		{"a task", func(g *lifecycle.Group) { g.Go("a", until) }, "tasks/tasks ok 0s 10s"},
		{"phases without a task", func(g *lifecycle.Group) { g.Drain.Phases = phases(ok) }, "p0/s ok tasks/tasks ok 1s 10s"},
		{"a phase and a task", func(g *lifecycle.Group) { g.Drain.Phases = phases(ok); g.Go("a", until) }, "p0/s ok tasks/tasks ok 1s 10s"},
		{"the task's own phase", func(g *lifecycle.Group) { g.Drain.Phases = phases(g.Step(), ok); g.Go("a", until) }, "p0/tasks ok p1/s ok 1s 10s"},
		{"Step is in no phase", func(g *lifecycle.Group) { g.Step(); g.Drain.Phases = phases(ok, ok); g.Go("a", until) }, "p0/s ok p1/s ok tasks/tasks ok 2s 10s"},
		{"Step is in no phase, and the time is over", func(g *lifecycle.Group) { g.Step(); g.Drain.Phases = phases(deaf); g.Go("a", until) }, "p0/s abandoned tasks/tasks ok 10s 11s"},
		{"Start fails", func(g *lifecycle.Group) {
			g.Start = func(context.Context) error { return errWork }
			g.Drain.Phases = phases(ok)
		}, "none"},
		{"not valid", func(g *lifecycle.Group) { g.Limit = -1 }, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
				g := lifecycle.Group{Drain: drain.Plan{Budget: 10 * s}}
				tt.group(&g)
				time.AfterFunc(s, func() { flag.Raise(nil) })
				early := func() {
					if r, ok := g.Report(); ok {
						t.Errorf("a report before the drain has ended: %v", r)
					}
				}
				early()
				time.AfterFunc(s+1, func() {
					if tt.want != "none" && !strings.HasSuffix(tt.want, " 0s 0s") && !strings.HasSuffix(tt.want, " 0s 10s") {
						early()
					}
				})
				g.Run(ctx)
				got := "none"
				if r, ok := g.Report(); ok {
					got = ""
					for _, res := range r.Results {
						got += fmt.Sprintf("%s/%s %s ", res.Phase, res.Step, res.Outcome)
					}
					got += fmt.Sprintf("%v %v", r.Took, r.Deadline.Sub(r.Began))
					if len(r.Results) == 0 {
						got = " " + got
					}
				}
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// Once, the implicit phase of the tasks took an equal share: one phase with a
// budget of 10 s cut a request of 6 s after 4.7 s.
func TestGroupShare(t *testing.T) {
	for _, tt := range []struct {
		name           string
		budget         time.Duration
		timeout, least time.Duration
		needs          time.Duration
		want           string // outcome of the phase, then of the tasks', which need 500 ms
	}{
		{"a request of 6 s", 10 * s, 0, 0, 6 * s, "ok ok"},
		{"all but a second", 10 * s, 0, 0, 8 * s, "ok ok"},
		{"deaf", 10 * s, 0, 0, time.Hour, "abandoned ok"},
		{"unspent time flows on to the tasks", 10 * s, s, 0, 0, "ok ok"},
		{"a reserve of all", 10 * s, 0, 10 * s, 8 * s, "ok ok"},
		{"a short budget", 2 * s, 0, 0, 1500 * time.Millisecond, "ok ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
				g := lifecycle.Group{Drain: drain.Plan{Budget: tt.budget, Phases: []drain.Phase{{Name: "requests", Timeout: tt.timeout, Reserve: tt.least,
					Steps: []drain.Step{{Name: "requests", Stop: func(context.Context) error { time.Sleep(tt.needs); return nil }}}}}}}
				g.Go("a", func(ctx context.Context) error {
					<-ctx.Done()
					time.Sleep(tt.budget / 20)
					return nil
				})
				time.AfterFunc(s, func() { flag.Raise(nil) })
				g.Run(ctx)
				r, _ := g.Report()
				if len(r.Results) != 2 {
					t.Fatal(r)
				}
				if got := fmt.Sprint(r.Results[0].Outcome, " ", r.Results[1].Outcome); got != tt.want || r.Took > tt.budget {
					t.Errorf("got %s, want %s\n%v", got, tt.want, r)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// Nested groups of the same budget once ended all at the same time: the outer step
// was blamed for the inner task, with a stack of the library's own.
func TestGroupNestedDeaf(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var outer lifecycle.Group
		outer.Go("outer", func(ctx context.Context) error {
			var middle lifecycle.Group
			middle.Go("middle", func(ctx context.Context) error {
				var inner lifecycle.Group
				inner.Go("deaf", func(context.Context) error { time.Sleep(time.Hour); return nil })
				return inner.Run(ctx)
			})
			return middle.Run(ctx)
		})
		time.AfterFunc(s, func() { flag.Raise(nil) })
		begin := time.Now()
		err := outer.Run(ctx)
		r, _ := outer.Report()
		if len(r.Results) != 1 || r.Results[0].Outcome != drain.OK {
			t.Errorf("the outer step is blamed:\n%v", r)
		}
		var leak *lifecycle.LeakError
		if !errors.As(err, &leak) || leak.Live != 1 || leak.Found[0].Task != "deaf" || time.Since(begin) >= 25*s {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		time.Sleep(2 * time.Hour)
	})
}
