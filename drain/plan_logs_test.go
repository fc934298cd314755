package drain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A handle is a handler of one function.
type handle func(slog.Record)

func (handle) Enabled(context.Context, slog.Level) bool        { return true }
func (h handle) Handle(_ context.Context, r slog.Record) error { h(r); return nil }
func (h handle) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h handle) WithGroup(string) slog.Handler                 { return h }

// Once, a Logger that blocked stopped the drain: Run was not back 1.7 s after a
// budget of 300 ms, and none of two steps ran. One that panicked made Run panic.
func TestPlanLoggerMisbehaves(t *testing.T) {
	for name, log := range map[string]handle{
		"blocks": func(slog.Record) { time.Sleep(time.Hour) },
		"panics": func(slog.Record) { panic("oh") },
		"slow":   func(slog.Record) { time.Sleep(20 * ms) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := drain.Plan{Budget: 300 * ms, Logger: slog.New(log), Phases: []drain.Phase{
					phase("a", 0, 0, step(takes(40*ms))), phase("b", 0, 0, step(takes(50*ms))), phase("c", 0, 0, step(deaf(time.Minute))),
				}}
				begin := time.Now()
				r, err := p.Run(t.Context())
				if took := time.Since(begin); took > 310*ms {
					t.Errorf("took %v", took)
				}
				if got := outcomes(r); got != "a/s ok 40ms; b/s ok 50ms; c/s abandoned 210ms" || !strings.Contains(r.Results[2].Stack, "deaf") {
					t.Errorf("%s, %v, stack %q", got, err, r.Results[2].Stack)
				}
				time.Sleep(24 * time.Hour)
			})
		})
	}
}

// A line that panics, such as that of an error whose Error method does, costs its
// line only.
func TestPlanLogsAreWrittenByRunsEnd(t *testing.T) {
	var got []string
	p := drain.Plan{Logger: slog.New(handle(func(r slog.Record) {
		if r.Message == "step ended" {
			panic("oh")
		}
		got = append(got, r.Message)
	})), Phases: []drain.Phase{phase("a", 0, 0, step(takes(0)))}}
	if _, err := p.Run(t.Context()); err != nil || !slices.Equal(got, []string{"drain began", "phase began", "drain ended"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// byDefault returns what goes to slog.Default while f runs.
func byDefault(f func()) string {
	var b bytes.Buffer
	before := slog.Default()
	defer log.SetOutput(log.Writer()) // SetDefault takes that too
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	f()
	return b.String()
}

// Without a Logger, what Run returns is not logged too; what it cannot return is.
func TestPlanWithoutLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		got := byDefault(func() {
			p := drain.Plan{Budget: 2 * s, Phases: []drain.Phase{phase("a", 0, 0,
				drain.Step{Name: "fails", Stop: func(context.Context) error { return errors.New("no") }},
				drain.Step{Name: "panics", Stop: func(context.Context) error { panic("oh") }},
				drain.Step{Name: "panics twice", Stop: func(ctx context.Context) error { <-ctx.Done(); panic("Stop") }, Kill: func() { panic("Kill") }})}}
			_, err = p.Run(t.Context())
		})
		if text := fmt.Sprint(err); got != "" || !strings.Contains(text, "panics: panic: panic: oh") || !strings.Contains(text, "panic: Stop\npanic: Kill") {
			t.Errorf("%v; logged:\n%s", err, got)
		}
		got = byDefault(func() {
			p := drain.Plan{Budget: 2 * s, Phases: []drain.Phase{phase("a", 0, 0,
				drain.Step{Name: "late", Stop: deaf(3 * s)},
				drain.Step{Name: "late panic", Stop: func(context.Context) error { time.Sleep(3 * s); panic("oh") }, Kill: func() { time.Sleep(4 * s) }})}}
			p.Progress = func(int, time.Time) { panic("progress") }
			_, err = p.Run(t.Context())
			time.Sleep(time.Minute)
			synctest.Wait()
		})
		for line, n := range map[string]int{
			"level=WARN msg=\"abandoned step returned\" phase=a step=late took=3s":                                        1,
			"level=WARN msg=\"abandoned step returned\" phase=a step=\"late panic\" took=5.8s error=\"panic: oh\" stack=": 1,
			"level=ERROR msg=panic name=progress":                                                                         1,
			"level=":                                                                                                      3,
		} {
			if strings.Count(got, line) != n {
				t.Errorf("not %d times %s in\n%s", n, line, got)
			}
		}
	})
}

// Durations are in seconds and say so, in JSON too.
func TestPlanLogLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := drain.Plan{Logger: slog.New(slog.NewJSONHandler(&b, nil)), Phases: []drain.Phase{phase("a", 0, 0, step(takes(1500*ms)))}}
		r, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(b.String()) {
			var l struct{ Msg, Budget, Took, Deadline string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Error(err)
			}
			got = append(got, strings.TrimSpace(fmt.Sprint(l.Msg, " ", l.Budget, l.Took, " ", l.Deadline)))
		}
		want := []string{"drain began 25s " + r.Deadline.Format(time.RFC3339Nano), "phase began", "step ended 1.5s", "drain ended 1.5s"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}
