package drain

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// An Outcome says how a step ended.
type Outcome string

// The outcomes. All except OK come with an error.
const (
	OK        Outcome = "ok"        // Stop returned nil, in its time or late without a Kill
	Failed    Outcome = "error"     // Stop returned an error in time
	Panicked  Outcome = "panic"     // Stop or Kill panicked
	TimedOut  Outcome = "timeout"   // Stop returned an error after its time, and the step has no Kill
	Killed    Outcome = "killed"    // Kill was called, and both had returned when the phase ended
	Abandoned Outcome = "abandoned" // Stop or Kill was still running when the phase ended
	Skipped   Outcome = "skipped"   // there was no time for Stop; Kill, if any, returned
)

// A PanicError is the panic of a step's Stop or Kill. A [*StepError] wraps it.
//
// It does not wrap Value: an error that a function panicked with is not an error that
// it returned.
type PanicError struct {
	Value  any    // what the function panicked with
	Stack  []byte // the stack of the panic; Error does not include it
	Logged bool   // the panic was logged, with its stack, when it happened
}

func (e *PanicError) Error() string { return (*panics.Error)(e).Error() }

// Is lets package restart, which does not import this one, find a panic.
func (e *PanicError) Is(target error) bool { return target == panics.Err }

// A StepError says how one step failed. It wraps the error that the step returned, or
// the cause with which its time ended. That cause matches context.DeadlineExceeded,
// or context.Canceled if a second signal forced the plan.
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

// A Report says what became of each step of a plan. Its String is a table for people,
// failures first; its JSON is one line.
type Report struct {
	Began    time.Time     // when Run began
	Deadline time.Time     // when the plan had to be over
	Took     time.Duration // from Began until the last phase was over
	Forced   bool          // a second signal forced the plan
	Results  []Result      // one for each step, in the order of the plan
}

// A Result says what became of one step.
type Result struct {
	Phase   string
	Step    string
	Outcome Outcome
	Took    time.Duration // from the begin of the phase to the end of the step, or of the phase if abandoned
	Err     error         // nil if Outcome is OK
	Stack   string        // of an abandoned step's goroutines and those they started
}

// String returns a table, 80 columns wide if the names are short enough. The steps that
// did not end well come first, and of these the longest first: the step that used up
// the time is at the top.
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

// why returns the error: on the same line if there is room for it, else below.
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
			if call == "panics.Call[...]" { // the step's own goroutine, not one that it started
				return strings.Join(calls, " < ")
			}
			calls = append(calls, call)
		}
	}
	return ""
}

// MarshalJSON writes the error as text and Took in seconds.
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

// MarshalJSON writes times in RFC 3339 and durations in seconds.
func (r Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Began    time.Time `json:"began"`
		Deadline time.Time `json:"deadline"`
		Took     float64   `json:"took"`
		Forced   bool      `json:"forced"`
		Results  []Result  `json:"results"`
	}{r.Began, r.Deadline, r.Took.Seconds(), r.Forced, append([]Result{}, r.Results...)})
}
