package lifecycle

import (
	"context"
	"fmt"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// A State is what a [Group] does.
type State string

const (
	Starting State = "starting" // Start runs
	Running  State = "running"  // the tasks run
	Draining State = "draining" // the stop has begun

	idle    State = "" // Run was not called
	stopped State = "stopped"
)

// A Status is what a [Group] passes to its Notify.
type Status struct {
	State State

	// While starting or running.
	Waiting string    // what a restart.Ledger, Lock or Lease waits for; "" if none does
	Until   time.Time // when that wait ends; zero if that is not known

	// While draining.
	Cause    error     // why the group stops
	Left     int       // what the drain waits for, as drain.Plan.Progress gets it
	Falling  bool      // Left fell within the last 5 s
	Deadline time.Time // when the drain ends at the latest; zero until the first count
}

// String returns s as a line for people, for example
//
//	draining: 3 left, until 12:03:04 at the latest
func (s Status) String() string {
	switch {
	case s.State == Draining && !s.Deadline.IsZero():
		return fmt.Sprintf("draining: %d left, until %s at the latest", s.Left, clockTime(s.Deadline))
	case s.Waiting != "" && s.Until.IsZero():
		return "waiting: " + s.Waiting
	case s.Waiting != "":
		return fmt.Sprintf("waiting until %s: %s", clockTime(s.Until), s.Waiting)
	}
	return string(s.State)
}

func clockTime(t time.Time) string { return t.Format(time.TimeOnly) }

func (g *Group) notify(s Status) {
	if g.Notify != nil {
		g.notifying <- struct{}{}
		defer func() { <-g.notifying }()
		g.Notify(s)
	}
}

// waits returns the carried.Waits of the tasks: it notifies of what a task waits for,
// from when the group runs until the stop begins.
func (g *Group) waits() carried.Waits {
	if g.Notify == nil {
		return nil
	}
	return func(what string, until time.Time) {
		g.notifying <- struct{}{} // a stop notifies only after this, or is seen here
		defer func() { <-g.notifying }()
		if g.tasks.stopCause() == nil {
			g.Notify(Status{State: Running, Waiting: what, Until: until})
		}
	}
}

// starting notifies that Start begins. Under the context that it returns, carried.Wait
// notifies of what Start waits for.
func (g *Group) starting(ctx context.Context) context.Context {
	if g.Notify == nil {
		return ctx
	}
	g.notify(Status{State: Starting})
	return context.WithValue(ctx, carried.WaitKey, carried.Waits(func(what string, until time.Time) {
		if ctx.Err() == nil {
			g.notify(Status{State: Starting, Waiting: what, Until: until})
		}
	}))
}

// progress returns the Progress of the drain plan: the user's own, and Notify.
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
		g.notify(Status{State: Draining, Cause: why, Left: left, Falling: time.Since(fell) <= patience, Deadline: deadline})
	}
}
