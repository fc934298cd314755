package drain_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A Server and a Graceful end Stopping contexts one by one. If all work leaves before
// the last is due, the step does not wait for that: 2 s for 400 streams that leave at once.
func TestClosingCrowdLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		leaves := make([]func(), 400)
		for i := range leaves {
			ctx, leave, _ := g.Join(t.Context(), "stream")
			drain.Stopping(ctx)
			leaves[i] = leave
		}
		f := &fakeServer{stopped: make(chan struct{})}
		time.AfterFunc(102*ms, func() {
			for _, leave := range leaves {
				leave()
			}
		})
		p := drain.Plan{Phases: []drain.Phase{phase("a", 20*s, 0, drain.Graceful("s", f, &g))}}
		r, err := p.Run(t.Context())
		if err != nil || r.Took > 110*ms {
			t.Errorf("the crowd left after 102ms; %v after %v", err, r.Took)
		}
	})
}

// A Kill without a Stop before it also ends the Stopping contexts first, and waits a
// moment. A stream that obeys is not cut.
func TestClosingKillAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		ctx, leave, _ := g.Join(t.Context(), "stream")
		stopping := drain.Stopping(ctx)
		var atGoodbye error
		go func() {
			<-stopping.Done()
			time.Sleep(20 * ms) // the goodbye
			atGoodbye = ctx.Err()
			leave()
		}()
		drain.Graceful("s", &fakeServer{stopped: make(chan struct{})}, &g).Kill()
		if cut := g.Cut(); len(cut) > 0 || atGoodbye != nil {
			t.Errorf("cut: %v; the stream's context at its goodbye: %v", cut, atGoodbye)
		}
	})
}

// What Cut returns is the caller's.
func TestGateCutCopies(t *testing.T) {
	var g drain.Gate
	_, leave, _ := g.Join(t.Context(), "a")
	defer leave()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	g.Drain(ended)
	g.Cut()[0] = "b"
	if got := g.Cut()[0]; got != "a" {
		t.Errorf("a caller changed the name to %s", got)
	}
}

// A plan that a step begins when the time of Stop is over has its whole budget:
// nothing of it is skipped.
func TestPlanAfterOuterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := drain.Plan{Budget: s, Phases: []drain.Phase{phase("b", 0, 0, step(takes(100*ms)))}}
		var r drain.Report
		outer := drain.Plan{Budget: 10 * s, Phases: []drain.Phase{phase("a", 0, 0, step(func(ctx context.Context) (err error) {
			<-ctx.Done()
			time.Sleep(500 * ms)
			r, err = inner.Run(ctx)
			return err
		}))}}
		outer.Run(t.Context())
		if got := outcomes(r); got != "b/s ok 100ms" {
			t.Errorf("got %s", got)
		}
	})
}

// Kill is called for what Stop could not finish, whatever the phase sees first: the end
// of Stop's time, the return of a Stop that obeys it, or the end of the phase, which in a
// phase of 9 ns is the end of Stop's time.
func TestPlanKillsAtSameTime(t *testing.T) {
	for _, tt := range []struct {
		name   string
		budget time.Duration
		stop   func(context.Context) error
		forced bool
	}{
		{"Stop obeys", s, until, false},
		{"Stop obeys the force", s, until, true},
		{"no time for Kill", 9, deaf(s), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 300 { // select chooses
				synctest.Test(t, func(t *testing.T) {
					var killed atomic.Bool
					p := drain.Plan{Budget: tt.budget, Logger: slog.New(slog.DiscardHandler), Phases: []drain.Phase{
						phase("a", 0, 0, drain.Step{Name: "s", Stop: tt.stop, Kill: func() { killed.Store(true) }}),
					}}
					ctx, force := asked(time.Now())
					if tt.forced {
						time.AfterFunc(100*ms, force)
					}
					p.Run(ctx)
					if time.Sleep(2 * s); !killed.Load() {
						t.Error("not killed")
					}
				})
				if t.Failed() {
					break
				}
			}
		})
	}
}

func until(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
