package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"log"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

// A buffer takes log lines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// defaultLog returns what goes to slog.Default in the test.
func defaultLog(t *testing.T) *buffer {
	var b buffer
	before, out := slog.Default(), log.Writer() // SetDefault takes that too
	t.Cleanup(func() { slog.SetDefault(before); log.SetOutput(out) })
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	return &b
}

// ExitCode logs once why main fails, with the stack of each panic that was not logged
// before.
func TestExitCodeIsLoud(t *testing.T) {
	panics := func(ctx context.Context, log *slog.Logger) error {
		g := lifecycle.Group{Logger: log}
		g.Go("a", func(context.Context) error { panic("oh") })
		return g.Run(ctx)
	}
	direct, _ := lifecycle.WithFlag(t.Context())
	for _, tt := range []struct {
		name         string
		run          func() error
		lines        int
		want         string // in the last line
		stacks       int
		stackAtStart bool // in the first line
	}{
		{"nil", func() error { return nil }, 0, "", 0, false},
		{"an error", func() error { return errWork }, 1, `level=ERROR msg=exit status=1 error="work failed"`, 0, false},
		{"permanent", func() error { return restart.Permanent(errWork) }, 1, `status=78 error="work failed"`, 0, false},
		{"a panic in main's group", func() error { return panics(direct, nil) }, 2, `error="lifecycle: task a: panic: oh"`, 1, true},
		{"a panic in another group", func() error { return panics(t.Context(), nil) }, 1, `error="lifecycle: task a: panic: oh"`, 1, false},
		{"a panic that a Logger has", func() error { return panics(t.Context(), slog.New(slog.DiscardHandler)) }, 1, `panic: oh`, 0, false},
		{"two panics", func() error { return errors.Join(panics(t.Context(), nil), panics(t.Context(), nil)) }, 1, `panic: oh`, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := defaultLog(t)
			lifecycle.ExitCode(tt.run())
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if log.String() == "" {
				lines = nil
			}
			stacks := strings.Count(log.String(), " [running]:")
			if len(lines) != tt.lines || stacks != tt.stacks {
				t.Fatalf("%d lines and %d stacks, want %d and %d:\n%s", len(lines), stacks, tt.lines, tt.stacks, log)
			}
			if tt.lines == 0 {
				return
			}
			if !strings.Contains(lines[len(lines)-1], tt.want) {
				t.Errorf("got %s\nwant %s", lines[len(lines)-1], tt.want)
			}
			if first := strings.Contains(lines[0], "msg=panic name=a"); first != tt.stackAtStart {
				t.Errorf("the first line: %s", lines[0])
			}
		})
	}
}

// A handler that blocks delays main's exit by a second at most, and one that panics
// does not delay it.
func TestExitCodeHandlerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defaultLog(t)
		release := make(chan struct{})
		for _, handle := range []func(){func() { panic("handler") }, func() { <-release }} {
			slog.SetDefault(slog.New(handler(handle)))
			begin := time.Now()
			if code := lifecycle.ExitCode(errWork); code != 1 || time.Since(begin) > s {
				t.Errorf("%d after %v", code, time.Since(begin))
			}
		}
		close(release)
	})
}

// A handler is a slog.Handler of one function.
type handler func()

func (handler) Enabled(context.Context, slog.Level) bool    { return true }
func (h handler) Handle(context.Context, slog.Record) error { h(); return nil }
func (h handler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h handler) WithGroup(string) slog.Handler             { return h }

// A group that is not the main group logs nothing, as its caller gets the error.
func TestGroupIsQuiet(t *testing.T) {
	groups := map[string]func(g *lifecycle.Group){
		"a failure":     func(g *lifecycle.Group) { g.Go("a", func(context.Context) error { return errWork }) },
		"a panic":       func(g *lifecycle.Group) { g.Go("a", func(context.Context) error { panic("oh") }) },
		"a Start fails": func(g *lifecycle.Group) { g.Start = func(context.Context) error { return errWork } },
		"Start panics":  func(g *lifecycle.Group) { g.Start = func(context.Context) error { panic("oh") } },
		"a stream panics": func(g *lifecycle.Group) {
			g.Go("a", func(ctx context.Context) error {
				return lifecycle.Generate(ctx, 0, func(context.Context, func(int) bool) error { panic("oh") }).Close(context.Background())
			})
		},
		"a leak": func(g *lifecycle.Group) {
			g.Go("b", func(context.Context) error { time.Sleep(time.Minute); return nil })
		},
		"tasks that a stop keeps from starting": func(g *lifecycle.Group) {
			g.Limit = 1
			for range 5 {
				g.Go("a", until)
			}
		},
		"a step fails": func(g *lifecycle.Group) {
			g.Drain.Phases = []drain.Phase{{Name: "x", Steps: []drain.Step{{Name: "x", Stop: func(context.Context) error { return errWork }}}}}
		},
		"a plan that is not valid": func(g *lifecycle.Group) { g.Drain.Budget = -1 },
	}
	contexts := map[string]func(ctx context.Context, run func(context.Context) error){
		"request": func(ctx context.Context, run func(context.Context) error) {
			derived, cancel := context.WithCancel(ctx) // as that of a request may be
			defer cancel()
			run(derived)
		},
		"nested": func(ctx context.Context, run func(context.Context) error) {
			var outer lifecycle.Group
			outer.Go("outer", func(ctx context.Context) error {
				inner, flag := lifecycle.WithFlag(ctx)
				stop := context.AfterFunc(drain.Stopping(ctx), func() { flag.Raise(nil) })
				defer stop()
				run(inner)
				return nil
			})
			outer.Run(ctx)
		},
	}
	for name, set := range groups {
		for of, in := range contexts {
			t.Run(name+", "+of, func(t *testing.T) {
				log := defaultLog(t)
				bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
					time.AfterFunc(s, func() { flag.Raise(nil) })
					in(ctx, func(ctx context.Context) error {
						g := lifecycle.Group{Drain: drain.Plan{Budget: 5 * s}}
						set(&g)
						err := g.Run(ctx)
						synctest.Wait()
						if log.String() != "" {
							t.Errorf("%v, logged: %s", err, log)
						}
						return err
					})
					time.Sleep(2 * time.Minute) // until the leak has ended
				})
			})
		}
	}
}

// The main group logs a panic before the drain, in which the process may be killed.
func TestGroupPanicIsSeenAtOnce(t *testing.T) {
	log := defaultLog(t)
	bubble(t, func(t *testing.T, ctx context.Context, _ *lifecycle.Flag) {
		var g lifecycle.Group
		g.Drain.Phases = []drain.Phase{{Name: "x", Steps: []drain.Step{{Name: "x", Stop: func(context.Context) error {
			synctest.Wait()
			if got := log.String(); !strings.Contains(got, "level=ERROR msg=panic name=a") || !strings.Contains(got, "TestGroupPanicIsSeenAtOnce") {
				t.Errorf("in the drain the log is %q", got)
			}
			return nil
		}}}}}
		g.Go("a", func(context.Context) error { panic("oh") })
		g.Run(ctx)
	})
}

// A failure of a task, a stream or Start after Run has returned reaches no caller, so
// it is logged, with the stack of a panic.
func TestGroupLateFailures(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(g *lifecycle.Group)
		want string // "" for none
	}{
		{"an error", func(g *lifecycle.Group) {
			g.Go("a", func(context.Context) error { time.Sleep(time.Minute); return errWork })
		}, `level=ERROR msg="task failed" task=a error="lifecycle: task a: work failed"`},
		{"the stop's cause", func(g *lifecycle.Group) {
			g.Go("a", func(ctx context.Context) error { time.Sleep(time.Minute); return ctx.Err() })
		}, ""},
		{"a panic", func(g *lifecycle.Group) {
			g.Go("a", func(context.Context) error { time.Sleep(time.Minute); panic("oh") })
		}, `task=a error="lifecycle: task a: panic: oh" stack="goroutine`},
		{"Start", func(g *lifecycle.Group) {
			g.Start = func(context.Context) error { time.Sleep(time.Minute); panic("oh") }
		}, `task=start error="panic: oh" stack="goroutine`},
		{"a stream", func(g *lifecycle.Group) {
			g.Go("a", func(ctx context.Context) error {
				st := lifecycle.Generate(ctx, 0, func(context.Context, func(int) bool) error { time.Sleep(time.Minute); panic("oh") })
				time.AfterFunc(2*time.Minute, func() {
					var p *lifecycle.PanicError
					if !errors.As(st.Err(), &p) || st.Close(context.Background()) != st.Err() {
						t.Errorf("Err %v", st.Err())
					}
				})
				return nil
			})
		}, `task=stream error="lifecycle: task stream: panic: oh" stack="goroutine`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := defaultLog(t)
			bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				g := lifecycle.Group{Drain: drain.Plan{Budget: s}}
				tt.set(&g)
				time.AfterFunc(s, func() { flag.Raise(nil) })
				first := g.Run(ctx)
				if log.String() != "" {
					t.Errorf("before Run's end: %s", log)
				}
				time.Sleep(3 * time.Minute)
				if again := g.Run(ctx); again != first {
					t.Errorf("a later Run: %v, the first: %v", again, first)
				}
			})
			got, n := "", 0
			for line := range strings.Lines(log.String()) {
				if !strings.Contains(line, "abandoned step returned") { // the plan's
					got, n = got+line, n+1
				}
			}
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || n > 1 {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// The panic of a stream without a group is logged too, as its Err may never be called.
func TestStreamPanicWithoutGroup(t *testing.T) {
	log := defaultLog(t)
	synctest.Test(t, func(t *testing.T) {
		st := lifecycle.Generate(t.Context(), 0, func(context.Context, func(int) bool) error { panic("oh") })
		var p *lifecycle.PanicError
		if err := st.Close(t.Context()); !errors.As(err, &p) {
			t.Errorf("Close: %v", err)
		}
	})
	if got := log.String(); !strings.Contains(got, "level=ERROR msg=panic name=stream") || !strings.Contains(got, "TestStreamPanicWithoutGroup") {
		t.Errorf("log %q", got)
	}
}

// The main group logs the tasks that Go accepted but that never ran because of a stop.
func TestGroupTaskNotStarted(t *testing.T) {
	log := defaultLog(t)
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Limit: 1}
		g.Go("a", until)
		g.Go("b", until)
		time.AfterFunc(s, func() { flag.Raise(nil) })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=WARN msg="task not started" task=b`) {
		t.Errorf("log %q", got)
	}
	ended, flag := lifecycle.WithFlag(t.Context())
	flag.Raise(nil)
	var g lifecycle.Group
	g.Go("c", until)
	if err := g.Run(ended); err != nil || strings.Contains(log.String(), "task=c") {
		t.Errorf("a stop before Run: %v, log %q", err, log)
	}
}

// If a handler panics, ends its goroutine or blocks, lines are lost, and Run is delayed
// by the rest of the budget at most. A later Run returns the same.
func TestGroupHandlerFails(t *testing.T) {
	release := make(chan struct{})
	for name, handle := range map[string]func(){
		"panics": func() { panic("handler") },
		"exits":  func() { runtime.Goexit() },
		"blocks": func() { <-release },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
				release = make(chan struct{})
				defer func() { close(release); synctest.Wait() }()
				g := lifecycle.Group{Logger: slog.New(handler(handle)), Drain: drain.Plan{Budget: 5 * s}}
				g.Go("a", until)
				g.Go("b", func(context.Context) error { time.Sleep(s); panic("oh") })
				begin := time.Now()
				most := s
				if name == "blocks" {
					most = 6 * s
				}
				first := g.Run(ctx)
				if again := g.Run(ctx); time.Since(begin) > most || first == nil || again != first || first.Error() != "lifecycle: task b: panic: oh" {
					t.Errorf("after %v: %v; again: %v", time.Since(begin), first, again)
				}
			})
		})
	}
}

// If Notify panics in Run, later callers get the panic as an error.
func TestGroupNotifyPanics(t *testing.T) {
	g := lifecycle.Group{Notify: func(lifecycle.Status) { panic("oh") }}
	g.Go("a", func(context.Context) error { return nil })
	func() {
		defer func() {
			if v := recover(); v != "oh" {
				t.Errorf("Run panicked with %v", v)
			}
		}()
		g.Run(t.Context())
	}()
	var p *lifecycle.PanicError
	if err := g.Run(t.Context()); !errors.As(err, &p) || !strings.Contains(string(p.Stack), "TestGroupNotifyPanics") {
		t.Errorf("a later Run: %v", err)
	}
}
