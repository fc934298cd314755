package drain_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A fakeServer behaves as a *grpc.Server can.
type fakeServer struct {
	graceful, stop time.Duration   // how long GracefulStop and Stop take
	deaf           bool            // Stop does not end GracefulStop
	panics         string          // which of them does, at its end
	handlers       *sync.WaitGroup // what GracefulStop waits for; may be nil

	stopped       chan struct{}
	graces, stops atomic.Int32 // calls
}

func (f *fakeServer) GracefulStop() {
	f.graces.Add(1)
	if f.handlers != nil {
		f.handlers.Wait()
		return
	}
	stopped := f.stopped
	if f.deaf {
		stopped = nil
	}
	select {
	case <-time.After(f.graceful):
	case <-stopped:
	}
	if f.panics == "GracefulStop" {
		panic(f.panics)
	}
}

func (f *fakeServer) Stop() {
	if f.stops.Add(1) > 1 {
		return
	}
	time.Sleep(f.stop)
	close(f.stopped)
	if f.panics == "Stop" {
		panic(f.panics)
	}
}

func TestGraceful(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server *fakeServer
		want   string // in phase a and, as the second caller, in phase b
		stack  string // functions in an abandoned step's stack
	}{
		{"in time", &fakeServer{graceful: s}, "a/s ok 1s; b/s ok 0s", ""},
		{"Stop ends it", &fakeServer{graceful: time.Hour, stop: 100 * ms}, "a/s killed 4.6s; b/s ok 0s", ""},
		{"Stop does not end it", &fakeServer{graceful: time.Minute, deaf: true}, "a/s abandoned 5s; b/s abandoned 5s", "GracefulStop"},
		{"Stop blocks", &fakeServer{graceful: time.Hour, stop: time.Minute}, "a/s abandoned 5s; b/s abandoned 5s", "GracefulStop Stop"},
		{"GracefulStop panics", &fakeServer{panics: "GracefulStop"}, "a/s panic 0s; b/s panic 0s", ""},
		{"Stop panics", &fakeServer{graceful: time.Hour, panics: "Stop"}, "a/s panic 4.5s; b/s ok 0s", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.server.stopped = make(chan struct{})
				step := drain.Graceful("s", tt.server, nil)
				p := drain.Plan{Phases: []drain.Phase{phase("a", 5*s, 0, step), phase("b", 5*s, 0, step)}, Logger: slog.New(slog.DiscardHandler)}
				r, _ := p.Run(t.Context())
				if got := outcomes(r); got != tt.want || tt.server.graces.Load() != 1 {
					t.Errorf("GracefulStop called %d times\ngot  %s\nwant %s", tt.server.graces.Load(), got, tt.want)
				}
				if stack := "\n\n" + r.Results[0].Stack; strings.Contains(stack, "\n\ndrain.(*graceful).") {
					t.Errorf("a goroutine of the library alone is in the stack:%s", stack)
				}
				for _, name := range strings.Fields(tt.stack) {
					if !strings.Contains(r.Results[0].Stack, "(*fakeServer)."+name+" ") {
						t.Errorf("%s is not in the stack:\n%s", name, r.Results[0].Stack)
					}
				}
				time.Sleep(2 * time.Hour) // what was abandoned ends
			})
		})
	}
}

// Forced before its phase, the server is stopped without grace.
func TestGracefulForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{graceful: time.Hour, stopped: make(chan struct{})}
		ctx, force := asked(time.Now())
		force()
		p := drain.Plan{Phases: []drain.Phase{phase("a", 5*s, 0, drain.Graceful("s", f, nil))}}
		r, _ := p.Run(ctx)
		if got := outcomes(r); got != "a/s skipped 0s" || f.graces.Load() != 0 || f.stops.Load() != 1 {
			t.Errorf("%s; GracefulStop called %d times, Stop %d", got, f.graces.Load(), f.stops.Load())
		}
	})
}

// The Stopping context of an RPC ends. An RPC that is cut is named, even if it leaves at that moment.
func TestGracefulNames(t *testing.T) {
	for range 50 { // what leaves as it is cut is a race
		for _, tt := range []struct {
			name string
			ends func(ctx, stopping context.Context, f *fakeServer) // the end of the work within
			want string
		}{
			{"told", func(_, stopping context.Context, _ *fakeServer) { <-stopping.Done() }, "<nil>"},
			{"cut by its context", func(ctx, _ context.Context, _ *fakeServer) { <-ctx.Done() },
				"drain: p: s: killed: 1 still in (rpc 9.225s): out of time in phase p"},
			{"cut by Stop", func(_, _ context.Context, f *fakeServer) { <-f.stopped },
				"drain: p: s: killed: 1 still in (rpc 9.225s): out of time in phase p"},
			{"deaf", func(context.Context, context.Context, *fakeServer) { time.Sleep(time.Minute) },
				"drain: p: s: abandoned: 1 still in (rpc 9.225s): out of time in phase p"},
		} {
			synctest.Test(t, func(t *testing.T) {
				var g drain.Gate
				f := &fakeServer{stopped: make(chan struct{}), handlers: new(sync.WaitGroup)}
				ctx, leave, _ := g.Join(t.Context(), "rpc")
				stopping := drain.Stopping(ctx)
				f.handlers.Go(func() { defer leave(); tt.ends(ctx, stopping, f) })
				p := drain.Plan{Budget: 10 * s, Phases: []drain.Phase{phase("p", 0, 0, drain.Graceful("s", f, &g))}}
				if _, err := p.Run(t.Context()); fmt.Sprint(err) != tt.want || g.Enter() {
					t.Errorf("%s: got  %v\nwant %s; or the gate is open", tt.name, err, tt.want)
				}
				f.handlers.Wait()
			})
		}
	}
}

// Kill may come without the end of Stop's context.
func TestGracefulKillAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		f := &fakeServer{stopped: make(chan struct{}), handlers: new(sync.WaitGroup)}
		step := drain.Graceful("s", f, &g)
		_, leave, _ := g.Join(t.Context(), "rpc")
		f.handlers.Go(func() { defer leave(); <-f.stopped })
		done := make(chan error, 1)
		go func() { done <- step.Stop(t.Context()) }()
		synctest.Wait()
		step.Kill()
		if err := <-done; fmt.Sprint(err) != "drain: 1 still in (rpc 50ms): drain: the server was killed: context canceled" {
			t.Errorf("got %v", err)
		}
	})
}
