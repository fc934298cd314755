package drain

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// An Outcome is what became of a step.
type Outcome string

// The outcomes. Each but OK comes with an error.
const (
	OK        Outcome = "ok"        // Stop returned nil in its time, or late but not killed
	Failed    Outcome = "error"     // Stop returned an error in its time
	Panicked  Outcome = "panic"     // Stop or Kill panicked
	TimedOut  Outcome = "timeout"   // Stop returned an error after its time, and there was no Kill
	Killed    Outcome = "killed"    // Kill was called, and both returned by the phase's end
	Abandoned Outcome = "abandoned" // Stop or Kill still ran at the phase's end
	Skipped   Outcome = "skipped"   // there was no time for Stop; Kill, if there is one, returned
)

// outcome tells what became of the step, where the phase ended for cause.
func (s *step) outcome(cause error) (Outcome, error) {
	switch {
	case s.killed.running && s.stopped.err != nil && s.stopped.err != cause:
		return Abandoned, s.stopped.err // it may name what still runs
	case s.active():
		return Abandoned, cmp.Or(s.killed.err, errAbandoned)
	case s.stopped.panicked() && s.killed.err != nil:
		return Panicked, errors.Join(s.stopped.err, s.killed.err)
	case s.stopped.panicked():
		return Panicked, s.stopped.err
	case s.killed.panicked():
		return Panicked, s.killed.err
	case s.killed.err != nil:
		return Failed, s.killed.err
	case !s.stopped.began:
		return Skipped, cause
	case s.killed.began && s.stopped.err == nil:
		return Killed, cause
	case s.killed.began:
		return Killed, s.stopped.err
	case s.stopped.err == nil:
		return OK, nil
	case s.late:
		return TimedOut, s.stopped.err
	default:
		return Failed, s.stopped.err
	}
}

// panicked leaves aside an error that tells of somebody else's panic, such as
// that of a plan inside a step.
func (c call) panicked() bool {
	_, ok := c.err.(*panics.Error)
	return ok
}

var errAbandoned = errors.New("still running at the end of its phase")

// A PanicError is the panic of a step's Stop or Kill. A [*StepError] wraps it.
//
// Value is what the function panicked with; Stack []byte is its stack, which Error
// does not include. PanicError does not wrap Value: an error that a function
// panicked with is not an error that it returned.
type PanicError = panics.Error

// A StepError is the failure of one step. It wraps what the step returned, or
// the cause for which its time ended, which matches context.DeadlineExceeded,
// or context.Canceled where a second stop forced it.
type StepError struct {
	Phase   string
	Step    string
	Outcome Outcome
	Err     error
}

func (e *StepError) Error() string {
	where := e.Phase
	if e.Step != e.Phase {
		where += ": " + e.Step
	}
	if e.Outcome != Failed {
		where += ": " + string(e.Outcome)
	}
	return "drain: " + where + ": " + strings.TrimPrefix(e.Err.Error(), "drain: ")
}

func (e *StepError) Unwrap() error { return e.Err }

// A Report is what became of a plan. Its String is a table for a person, its
// JSON one line.
type Report struct {
	Began    time.Time     // when Run began
	Deadline time.Time     // when it had to be over
	Took     time.Duration // until it was
	Forced   bool          // a second stop cut it short
	Results  []Result      // a step each, in the plan's order
}

// A Result is what became of one step.
type Result struct {
	Phase   string
	Step    string
	Outcome Outcome
	Took    time.Duration // from the phase's begin to the step's end, or to the phase's if it was abandoned
	Err     error         // nil where Outcome is OK
	Stack   string        // an abandoned step's goroutines and those they started
}

// String is 80 columns wide where the names allow. The steps that did not end
// well come first, longest first: whoever used up the time is at the top.
func (r Report) String() string {
	var b strings.Builder
	var bad, good []Result
	wp, ws := len("phase"), len("step")
	for _, s := range r.Results {
		wp, ws = max(wp, utf8.RuneCountInString(s.Phase)), max(ws, utf8.RuneCountInString(s.Step))
		if s.Err != nil {
			bad = append(bad, s)
		} else {
			good = append(good, s)
		}
	}
	slices.SortStableFunc(bad, func(a, b Result) int { return cmp.Compare(b.Took, a.Took) })
	if len(r.Results) > 0 {
		fmt.Fprintf(&b, "%-*s  %-*s  %-9s  %8s\n", wp, "phase", ws, "step", "outcome", "took")
	}
	for _, s := range append(bad, good...) {
		line := fmt.Sprintf("%-*s  %-*s  %-9s  %7.2fs", wp, s.Phase, ws, s.Step, s.Outcome, s.Took.Seconds())
		b.WriteString(line)
		b.WriteString(s.why(80 - utf8.RuneCountInString(line)))
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%.2fs of %.2fs", r.Took.Seconds(), r.Deadline.Sub(r.Began).Seconds())
	if len(bad) > 0 {
		fmt.Fprintf(&b, ", %d of %d steps did not end well", len(bad), len(r.Results))
	}
	if r.Forced {
		b.WriteString(", forced")
	}
	return b.String()
}

// why returns the error, on the same line where there is room, else below.
func (r Result) why(room int) string {
	if r.Err == nil {
		return ""
	}
	text := strings.TrimPrefix(r.Err.Error(), "drain: ")
	if at := r.at(); at != "" {
		text += ", in " + at
	}
	words := strings.Fields(text)
	if one := "  " + strings.Join(words, " "); utf8.RuneCountInString(one) <= room {
		return one
	}
	const indent = "\n   "
	var b strings.Builder
	for used := 80; len(words) > 0; words = words[1:] {
		n := 1 + utf8.RuneCountInString(words[0])
		if used+n > 80 {
			b.WriteString(indent)
			used = len(indent) - 1
		}
		b.WriteString(" " + words[0])
		used += n
	}
	return b.String()
}

// at returns the calls that an abandoned step stands in, innermost first.
func (r Result) at() string {
	for stack := range strings.SplitSeq(r.Stack, "\n\n") {
		var calls []string
		for line := range strings.Lines(stack) {
			call, _, _ := strings.Cut(line, " ")
			if call == "panics.Call" { // the step's own goroutine, not one that it started
				return strings.Join(calls, " < ")
			}
			calls = append(calls, call)
		}
	}
	return ""
}

// MarshalJSON gives an error as its text and a time as seconds.
func (r Result) MarshalJSON() ([]byte, error) {
	out := struct {
		Phase   string  `json:"phase"`
		Step    string  `json:"step"`
		Outcome Outcome `json:"outcome"`
		Took    float64 `json:"took"`
		Error   string  `json:"error,omitempty"`
		Stack   string  `json:"stack,omitempty"`
	}{r.Phase, r.Step, r.Outcome, r.Took.Seconds(), "", r.Stack}
	if r.Err != nil {
		out.Error = r.Err.Error()
	}
	return json.Marshal(out)
}

// MarshalJSON gives times as RFC 3339 and durations as seconds.
func (r Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Began    time.Time `json:"began"`
		Deadline time.Time `json:"deadline"`
		Took     float64   `json:"took"`
		Forced   bool      `json:"forced"`
		Results  []Result  `json:"results"`
	}{r.Began, r.Deadline, r.Took.Seconds(), r.Forced, append([]Result{}, r.Results...)})
}
