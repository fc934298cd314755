package lifecycle

import (
	"context"
	"fmt"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// A Status is what a [Group] tells its Notify.
type Status struct {
	State    string    // "starting", "running" or "draining"
	Waiting  string    // starting: what a restart.Ledger or restart.Lock waits for
	Until    time.Time // starting: when that wait ends; zero where nobody knows
	Cause    error     // draining: of the stop
	Left     int       // draining: what is left, as drain.Plan.Progress is told
	Falling  bool      // draining: Left has become less within 5 s
	Deadline time.Time // draining: when it is over at the latest
}

// String is a line for people, as systemctl status shows it.
func (s Status) String() string {
	switch {
	case s.State == string(draining) && !s.Deadline.IsZero():
		return fmt.Sprintf("draining: %d left, until %s at the latest", s.Left, clockTime(s.Deadline))
	case s.Waiting != "" && s.Until.IsZero():
		return "waiting: " + s.Waiting
	case s.Waiting != "":
		return fmt.Sprintf("waiting until %s: %s", clockTime(s.Until), s.Waiting)
	}
	return s.State
}

func clockTime(t time.Time) string { return t.Format(time.TimeOnly) }

func (g *Group) notify(s Status) {
	if g.Notify != nil {
		g.Notify(s)
	}
}

// starting tells Notify that Start runs, and returns a context that lets it know
// what Start waits for.
func (g *Group) starting(ctx context.Context) context.Context {
	if g.Notify == nil {
		return ctx
	}
	g.Notify(Status{State: string(starting)})
	return context.WithValue(ctx, wire.WaitKey, wire.Waits(func(what string, until time.Time) {
		if ctx.Err() == nil {
			g.Notify(Status{State: string(starting), Waiting: what, Until: until})
		}
	}))
}

// progress returns what the drain plan tells of what is left.
func (g *Group) progress(why error) func(left int, deadline time.Time) {
	if g.Notify == nil {
		return g.Drain.Progress
	}
	last, fell := 0, time.Now()
	return func(left int, deadline time.Time) {
		if g.Drain.Progress != nil {
			g.Drain.Progress(left, deadline)
		}
		if left < last {
			fell = time.Now()
		}
		last = left
		g.Notify(Status{State: string(draining), Cause: why, Left: left, Falling: time.Since(fell) <= patience, Deadline: deadline})
	}
}
