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

// Once the phase of the tasks has given up on a deaf task, Run does not wait for it again:
// not 10 s in place of 2 s, and the report blames the task once.
func TestGroupGivesUpOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		phases func(step drain.Step) []drain.Phase
		force  bool // 1 s after the stop
		want   string
	}{
		{"Stop and Kill give up", func(step drain.Step) []drain.Phase {
			return []drain.Phase{{Name: "p", Timeout: 2 * s, Steps: []drain.Step{step}}}
		}, false, "p/tasks abandoned, 2s"},
		{"Stop alone gives up", func(step drain.Step) []drain.Phase {
			step.Kill = nil
			return []drain.Phase{{Name: "p", Timeout: 2 * s, Steps: []drain.Step{step}}}
		}, false, "p/tasks timeout, 1.8s"},
		{"Kill alone gives up", func(step drain.Step) []drain.Phase {
			return []drain.Phase{{Name: "long", Steps: []drain.Step{{Name: "long", Stop: until}}}, {Name: "p", Steps: []drain.Step{step}}}
		}, true, "long/long timeout, p/tasks abandoned, 1.9s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
				g := lifecycle.Group{Drain: drain.Plan{Budget: 10 * s}}
				g.Drain.Phases = tt.phases(g.Step())
				g.Go("deaf", func(context.Context) error { time.Sleep(time.Hour); return nil })
				time.AfterFunc(s, func() { flag.Raise(nil) })
				if tt.force {
					time.AfterFunc(2*s, func() { flag.Raise(nil) })
				}
				begin := time.Now()
				err := g.Run(ctx)
				took := time.Since(begin) - s
				var leak *lifecycle.LeakError
				if !errors.As(err, &leak) || leak.Live != 1 || strings.Count(err.Error(), "tasks: ") != 1 {
					t.Errorf("the task is not named once: %v", err)
				}
				r, _ := g.Report()
				got := ""
				for _, res := range r.Results {
					got += fmt.Sprintf("%s/%s %s, ", res.Phase, res.Step, res.Outcome)
				}
				if got += took.String(); got != tt.want || r.Took != took {
					t.Errorf("got %s, want %s; the report says %v", got, tt.want, r.Took)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// The stop may begin before a task first asks for Stopping. Then the context has ended,
// with the stop's cause, while the task's own is alive until its phase.
func TestGroupStoppingAskedLate(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var g lifecycle.Group
		g.Drain.Phases = []drain.Phase{{Name: "wait", Steps: []drain.Step{{Name: "wait", Stop: func(context.Context) error { time.Sleep(2 * s); return nil }}}}}
		g.Go("a", func(ctx context.Context) error {
			time.Sleep(2 * s)
			if soft := drain.Stopping(ctx); context.Cause(soft) != errWork || soft.Err() == nil || ctx.Err() != nil {
				t.Errorf("Stopping ended with %v, %v; the task's context with %v", soft.Err(), context.Cause(soft), ctx.Err())
			}
			return nil
		})
		time.AfterFunc(s, func() { flag.Raise(errWork) })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
