package drain

import (
	"context"
	"io"
	"time"
)

// A Phase is a set of steps that run side by side. It is over when all of them
// are, or when its time is.
type Phase struct {
	// Name appears in errors, logs and the report, and is unique in its plan.
	Name string

	// Timeout bounds the phase. 0 means an equal share, with the later phases
	// that have none, of what the reserves of later phases leave.
	Timeout time.Duration

	// Reserve is what the phase is sure to get, whatever the phases before it
	// did. 0 means that it gets what is left.
	Reserve time.Duration

	// Steps run side by side. Their order is that of the report.
	Steps []Step
}

// A Step is one thing to stop.
type Step struct {
	// Name appears in errors, logs and the report, and is unique in its phase.
	Name string

	// Stop asks for an orderly end and waits for it. Its context ends when the
	// time for that is over, with a cause that names the phase. Where a stop was
	// forced before the phase began, and the phase has no Reserve, Stop is not
	// called at all.
	Stop func(context.Context) error

	// Kill forces the end of what Stop could not finish. It is called once at
	// most, at the end of Stop's time, while Stop may still be running, and has
	// the last tenth of the phase's time for it, or a second where that is
	// less. Kill may wait. Nil: there is no force to apply.
	Kill func()
}

// Do is a step that calls f, whose end is neither bounded nor reported: the Close of
// a *pgxpool.Pool, or anything else that returns no error. If f blocks past the
// phase's end, the step is abandoned and named like any other.
//
// A plan is often made before Start opens what it closes, and runs also if Start
// was stopped halfway. Then write
//
//	drain.Do("db", func() {
//		if pool != nil {
//			pool.Close()
//		}
//	})
//
// which also reads pool only when the step runs.
func Do(name string, f func()) Step {
	return Step{Name: name, Stop: func(context.Context) error { f(); return nil }}
}

// Close is a step that closes c, such as a *sql.DB. If Close blocks past the phase's
// end, the step is abandoned and named like any other. A c of nil is nothing to
// close. A nil pointer in c is not seen as nil: use [Do] for what may not be open.
func Close(name string, c io.Closer) Step {
	return Step{Name: name, Stop: func(context.Context) error {
		if c == nil {
			return nil
		}
		return c.Close()
	}}
}
