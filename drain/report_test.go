package drain_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// all has each outcome, in a plan that went as wrong as can be.
func all() drain.Report {
	began := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	stack := "sync.runtime_SemacquireWaitGroup sema.go:114\nsync.(*WaitGroup).Wait waitgroup.go:206\nmain.(*cache).flush cache.go:12\npanics.Call[...] panics.go:60\n\n" +
		"net.(*conn).Read net.go:1\nmain.child cache.go:99\n\n"
	return drain.Report{Began: began, Deadline: began.Add(22 * s), Took: 16320 * ms, Forced: true, Results: []drain.Result{
		{Phase: "requests", Step: "http", Outcome: drain.OK, Took: 1200 * ms},
		{Phase: "requests", Step: "sessions", Outcome: drain.TimedOut, Took: 14 * s, Err: errors.New("drain: 2 still in (session 7 14s, session 9 14s): out of time in phase requests")},
		{Phase: "jobs", Step: "queue", Outcome: drain.Failed, Took: 123 * time.Microsecond, Err: errors.New("3 jobs left\nfor another day")},
		{Phase: "jobs", Step: "cache", Outcome: drain.Abandoned, Took: 2300 * ms, Err: errors.New("still running at the end of its phase"), Stack: stack},
		{Phase: "db", Step: "pool", Outcome: drain.Killed, Took: 20 * ms, Err: errors.New("forced in phase db")},
		{Phase: "db", Step: "файлы", Outcome: drain.Panicked, Err: errors.New("panic: oh")},
		{Phase: "telemetry", Step: "exporter", Outcome: drain.Skipped, Err: errors.New("forced in phase telemetry")},
	}}
}

func TestReportString(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report drain.Report
		want   string
	}{
		{"no plan", drain.Report{}, "0.00s of 0.00s"},
		{"well", drain.Report{Deadline: time.Time{}.Add(25 * s), Took: 61500 * time.Microsecond, Results: []drain.Result{{Phase: "db", Step: "db", Outcome: drain.OK, Took: 61 * ms}}}, `
phase  step  outcome        took
db     db    ok            0.06s
0.06s of 25.00s`},
		{"all", all(), `
phase      step      outcome        took
requests   sessions  timeout      14.00s
    2 still in (session 7 14s, session 9 14s): out of time in phase requests
jobs       cache     abandoned     2.30s
    still running at the end of its phase, in sync.runtime_SemacquireWaitGroup <
    sync.(*WaitGroup).Wait < main.(*cache).flush
db         pool      killed        0.02s  forced in phase db
jobs       queue     error         0.00s  3 jobs left for another day
db         файлы     panic         0.00s  panic: oh
telemetry  exporter  skipped       0.00s  forced in phase telemetry
requests   http      ok            1.20s
16.32s of 22.00s, 6 of 7 steps did not end well, forced`},
	} {
		if got := tt.report.String(); got != strings.TrimPrefix(tt.want, "\n") {
			t.Errorf("%s:\n%s", tt.name, got)
		}
	}
}

// An error of any length stays within 80 columns, and loses no word.
func TestReportWidth(t *testing.T) {
	for n := range 200 {
		text := strings.Repeat("four fives ", n) + "end"
		r := drain.Report{Results: []drain.Result{{Phase: "p", Step: "s", Outcome: drain.Failed, Err: errors.New(text)}}}
		got := r.String()
		for line := range strings.Lines(got) {
			if len(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%d columns: %s", len(line), line)
			}
		}
		if !strings.Contains(strings.Join(strings.Fields(got), " "), " 0.00s "+text+" 0.00s of ") {
			t.Errorf("words are missing:\n%s", got)
		}
	}
}

func TestReportJSON(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report drain.Report
		want   string
	}{
		{"no plan", drain.Report{}, `{"began":"0001-01-01T00:00:00Z","deadline":"0001-01-01T00:00:00Z","took":0,"forced":false,"results":[]}`},
		{"all", all(), `{"began":"2026-05-04T03:02:01Z","deadline":"2026-05-04T03:02:23Z","took":16.32,"forced":true,"results":[
{"phase":"requests","step":"http","outcome":"ok","took":1.2},
{"phase":"requests","step":"sessions","outcome":"timeout","took":14,"error":"drain: 2 still in (session 7 14s, session 9 14s): out of time in phase requests"},
{"phase":"jobs","step":"queue","outcome":"error","took":0.000123,"error":"3 jobs left\nfor another day"},
{"phase":"jobs","step":"cache","outcome":"abandoned","took":2.3,"error":"still running at the end of its phase",` +
			`"stack":"sync.runtime_SemacquireWaitGroup sema.go:114\nsync.(*WaitGroup).Wait waitgroup.go:206\nmain.(*cache).flush cache.go:12\npanics.Call[...] panics.go:60\n\nnet.(*conn).Read net.go:1\nmain.child cache.go:99\n\n"},
{"phase":"db","step":"pool","outcome":"killed","took":0.02,"error":"forced in phase db"},
{"phase":"db","step":"файлы","outcome":"panic","took":0,"error":"panic: oh"},
{"phase":"telemetry","step":"exporter","outcome":"skipped","took":0,"error":"forced in phase telemetry"}]}`},
	} {
		got, err := json.Marshal(tt.report)
		if want := strings.ReplaceAll(tt.want, "\n", ""); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, got, want)
		}
	}
}

// The stack that a run gives says which function an abandoned step is in.
func TestReportAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := drain.Plan{Budget: 2 * s, Phases: []drain.Phase{phase("a", 0, 0, step(stuckInStop))}}
		r, _ := p.Run(t.Context())
		if got := r.String(); !strings.Contains(got, "in time.Sleep <\n    drain_test.stuckInStop\n2.00s of 2.00s, 1 of 1 steps did not end well") {
			t.Error(got)
		}
		time.Sleep(time.Minute)
	})
}

// The error of Stop, such as the names of the work within, is kept if Kill is
// stuck.
func TestPlanKillStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := drain.Plan{Budget: 10 * s, Phases: []drain.Phase{phase("p", 0, 0, drain.Step{Name: "s", Kill: func() { time.Sleep(20 * s) },
			Stop: func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("2 within: %w", context.Cause(ctx)) }})}}
		_, err := p.Run(t.Context())
		want := "drain: p: s: abandoned: 2 within: out of time in phase p"
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		time.Sleep(20 * s) // until it returns
	})
}
