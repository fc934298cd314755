package drain_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// progressOf runs a plan and returns the arguments of Progress, and when it was called.
func progressOf(t *testing.T, p *drain.Plan) string {
	t.Helper()
	begin := time.Now()
	var told []string
	p.Progress = func(left int, deadline time.Time) {
		told = append(told, fmt.Sprintf("%v %d", time.Since(begin), left))
		if d := deadline.Sub(begin); d != p.Budget {
			t.Errorf("deadline after %v", d)
		}
	}
	p.Run(t.Context())
	return strings.Join(told, ", ")
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		for i := range 3 {
			g.Enter()
			time.AfterFunc(time.Duration(i+1)*900*ms, g.Leave)
		}
		p := drain.Plan{Budget: 10 * s, Phases: []drain.Phase{
			phase("a", 0, 0, drain.Step{Name: "gate", Stop: g.Drain}, drain.Step{Name: "short", Stop: takes(1500 * ms)}),
			phase("b", 2500*ms, 0, step(deaf(time.Minute))),
			phase("c", 0, 0, step(takes(0))),
		}}
		// Steps: 4, with 3 within the gate; the last to leave does so after 2.7 s. The deaf step is
		// given up after 2.5 s more, and not counted any longer.
		// The first call may come before the gate has counted its work, and so may that for phase c.
		want := "1s 6, 2s 4, 2.7s 2, 3.7s 2, 4.7s 2, 5.2s "
		if got := progressOf(t, &p); !strings.HasPrefix(got, "0s ") || !strings.Contains(got, want) || !strings.HasSuffix(got, "5.2s 0") {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		time.Sleep(time.Minute)
	})
}

// The work that a phase gave up on is not counted in the next one.
func TestProgressForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		g.Enter()
		g.Enter()
		p := drain.Plan{Budget: 10 * s, Phases: []drain.Phase{
			phase("a", s, 0, drain.Step{Name: "gate", Stop: g.Drain}),
			phase("b", 0, 0, step(takes(3*s))),
		}}
		if got := progressOf(t, &p); !strings.HasPrefix(got, "0s ") || !strings.Contains(got, ", 900ms 1, 1.9s 1, 2.9s 1, 3.9s ") || !strings.HasSuffix(got, "3.9s 0") {
			t.Errorf("got %s", got)
		}
	})
}

// At the end nothing is left: a step that was abandoned is not waited for.
func TestProgressEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := drain.Plan{Budget: s, Phases: []drain.Phase{phase("a", s/2, 0, step(deaf(time.Minute)))}}
		if got := progressOf(t, &p); got != "0s 1, 500ms 0" {
			t.Errorf("got %s", got)
		}
		time.Sleep(time.Minute)
	})
}

// TestProgressKill counts a step that gave up, and is killed.
func TestProgressKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gaveUp := step(takes(time.Minute))
		gaveUp.Kill = func() { time.Sleep(900 * ms) }
		p := drain.Plan{Budget: 10 * s, Phases: []drain.Phase{phase("a", 0, 0, gaveUp)}}
		got := progressOf(t, &p)
		if !strings.HasPrefix(got, "0s 1, 1s 1") || !strings.HasSuffix(got, "9s 1, 9.9s 0") {
			t.Errorf("got %s", got)
		}
	})
}

// TestProgressMisbehaves shows that no step waits for it, nor Run past its deadline.
func TestProgressMisbehaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, f := range map[string]func(int, time.Time){
			"panics": func(int, time.Time) { panic("oh") },
			"blocks": func(int, time.Time) { time.Sleep(time.Minute) },
		} {
			p := drain.Plan{Budget: 3 * s, Progress: f, Logger: slog.New(slog.DiscardHandler), Phases: []drain.Phase{phase("a", 0, 0, step(takes(s)))}}
			begin := time.Now()
			r, err := p.Run(context.Background())
			if took := time.Since(begin); err != nil || took > 3*s || r.Took != s {
				t.Errorf("%s: %v after %v; %v", name, err, took, r)
			}
			time.Sleep(5 * time.Minute)
		}
	})
}
