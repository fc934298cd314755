package drain

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// stacks is where the goroutines of a phase's steps are, from one goroutine profile.
// In a large process a profile takes long, so no phase waits for it: it begins when
// half of Kill's time is over.
type stacks struct {
	done   chan struct{}     // closed once the rest is set
	byStep map[string][]byte // the stacks one after the other
	err    error
}

var errNoTime = errors.New("the goroutine profile was not complete by the deadline")

// look begins to look for the goroutines of owner's steps. Its goroutine ends with the
// profile. Profiles are taken one at a time, and none after the deadline.
func (r *run) look(owner string) *stacks {
	s := &stacks{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		labels.Set(context.Background()) // this goroutine does not belong to the caller's task
		r.profile.Lock()
		defer r.profile.Unlock()
		if s.err = errNoTime; !time.Now().After(r.deadline) {
			s.read(owner)
		}
	}()
	return s
}

func (s *stacks) read(owner string) {
	var found []labels.Found
	found, s.err = labels.Below(owner)
	s.byStep = make(map[string][]byte)
	for _, f := range found {
		if !f.Own {
			s.byStep[f.Name] = append(append(s.byStep[f.Name], f.Stack...), '\n')
		}
	}
}

// of returns the stacks of a step. It waits for the profile, but only until then.
func (s *stacks) of(step string, until time.Time) (string, error) {
	select {
	case <-s.done:
	default:
		select {
		case <-s.done:
		case <-time.After(time.Until(until)):
			return "", errNoTime
		}
	}
	return string(s.byStep[step]), s.err
}

// An abandoned is a step that was abandoned, with the stacks of its phase.
type abandoned struct {
	*stacks
	result int // index in the results
	step   string
	until  time.Time
}

// LogValue waits for the stack, in the goroutine that writes the line.
func (a abandoned) LogValue() slog.Value {
	stack, _ := a.of(a.step, a.until)
	return slog.StringValue(stack)
}

// addStacks puts the stacks of the abandoned steps into their results. It waits for the
// profiles until the deadline.
func (r *run) addStacks(results []Result) {
	missing := ""
	for _, a := range r.abandoned {
		res, err := &results[a.result], error(nil)
		if res.Stack, err = a.of(a.step, a.until); err != nil && res.Phase != missing {
			missing = res.Phase
			r.loud.WarnContext(r.ctx, "stacks missing", "phase", res.Phase, "error", err)
		}
	}
}
