package lifecycle

import (
	"fmt"
	"strings"

	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// A LeakError says which tasks had not returned when [Group.Run] did. It also
// stands for a Start that Run gave up on, and for the producer that
// [Stream.Close] did, with a Live of 1.
type LeakError struct {
	Live  int    // how many had not returned; exact
	Found []Leak // their goroutines, and those that tasks started and left behind
}

// A Leak is a number of goroutines of one task that stand at the same place.
type Leak struct {
	Task  string
	Count int
	Stack string // a line for each call, innermost first: function file:line
}

func (e *LeakError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lifecycle: %d tasks did not end", e.Live)
	if e.Live == 1 {
		b.Reset()
		b.WriteString("lifecycle: 1 task did not end")
	}
	for i, l := range e.Found {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		at, _, _ := strings.Cut(l.Stack, "\n")
		fmt.Fprintf(&b, "%s%s (%d) at %s", sep, l.Task, l.Count, at)
	}
	return b.String()
}

// leaked finds the goroutines of tasks that are still live.
func leaked(owner string, live int) error {
	e := &LeakError{Live: live}
	found, err := labels.Below(owner)
	if err != nil {
		e.Found = []Leak{{Task: err.Error()}}
	}
	for _, f := range found {
		e.Found = append(e.Found, Leak{f.Name, f.Count, f.Stack})
	}
	return e
}

// A PanicError is a panic of a task, a step or a stream's producer. It was
// printed when it happened. It does not wrap the value: an error that somebody
// panicked with is not an error that somebody returned.
//
// It has the fields Value any and Stack []byte.
type PanicError = labels.PanicError
