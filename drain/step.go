package drain

import (
	"context"
	"io"
	"time"
)

// A Phase is a set of steps that run side by side. It is over when all of them have
// returned, or when its time is up. [Plan] says how long that is.
type Phase struct {
	// Name appears in errors, logs and the report. It is unique in its plan.
	Name string

	// Timeout bounds the phase. 0 means an equal share of what is left.
	Timeout time.Duration

	// Reserve is the time that the phase gets for sure, whatever earlier phases do. 0
	// means none: earlier phases may use up all time.
	Reserve time.Duration

	// Steps run side by side. The report keeps their order.
	Steps []Step
}

// A Step is one thing to stop.
type Step struct {
	// Name appears in errors, logs and the report. It is unique in its phase.
	Name string

	// Stop asks for an orderly end and waits for it. When the time for that is over,
	// its context ends, with a cause that names the phase. Stop is not called if the
	// phase begins without time for it: the plan is over, or was forced and the
	// phase has no Reserve.
	Stop func(context.Context) error

	// Kill forces the end of what Stop could not finish. It is called at most once,
	// when Stop's time is over, and may wait. Stop may still be running then. [Plan]
	// says how long Kill has. If Kill is nil, the step cannot be forced.
	Kill func()
}

// Do returns a step that calls f, such as the Close of a *pgxpool.Pool, which takes
// no context and returns no error. If f blocks past the end of the phase, the step is
// abandoned and named like any other.
//
// A plan is often made before Start opens what the plan closes, and it also runs if
// Start failed halfway. Then write
//
//	drain.Do("db", func() {
//		if pool != nil {
//			pool.Close()
//		}
//	})
//
// which reads pool only when the step runs.
func Do(name string, f func()) Step {
	return Step{Name: name, Stop: func(context.Context) error { f(); return nil }}
}

// Close returns a step that closes c, such as a *sql.DB. If Close blocks past the end
// of the phase, the step is abandoned and named like any other. If c is nil, the step
// does nothing. A nil pointer in c is not a nil c: use [Do] for what may not be open.
func Close(name string, c io.Closer) Step {
	return Step{Name: name, Stop: func(context.Context) error {
		if c == nil {
			return nil
		}
		return c.Close()
	}}
}
