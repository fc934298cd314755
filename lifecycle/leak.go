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
//
// They are found by a label of the profiler. Tasks that have replaced theirs, by
// pprof.Do(context.Background(), …) or a trace started without their context, are
// counted, without a Stack; what such a task has started by a bare go is not found.
type Leak struct {
	Task  string // its name; "(others)" from a group's 65th name on
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
		if l.Stack == "" && l.Count > 0 {
			at = "a place unknown, as its profiler labels were replaced"
		}
		fmt.Fprintf(&b, "%s%s (%d) at %s", sep, l.Task, l.Count, at)
	}
	return b.String()
}

// leaked finds the goroutines of tasks that are still live.
func leaked(owner string, live int) *LeakError {
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

// leaked finds the tasks that live: by their labels, and by the counts of names.
func (t *tasks) leaked(live int) error {
	e := leaked(t.owner, live)
	found := map[string]int{}
	for _, l := range e.Found {
		if strings.Contains(l.Stack, "lifecycle.(*tasks).run ") { // not one that a task has started
			found[l.Task] += l.Count
		}
	}
	for n := t.names.Load(); n != nil; n = n.next {
		if hidden := int(n.live.Load()) - found[n.name]; hidden > 0 {
			e.Found = append(e.Found, Leak{Task: n.name, Count: hidden})
		}
	}
	return e
}

// A PanicError is a panic of a task, a step or a stream's producer. Its Error does
// not have the stack: [Group] says when a panic is logged, and [ExitCode] logs the
// stack of one that was not. It does not wrap the value: an error that a function
// panicked with is not an error that it returned.
//
// It has the fields Value any and Stack []byte.
type PanicError = labels.PanicError
