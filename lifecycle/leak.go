package lifecycle

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
// They are found by a label of the profiler. A task has no Stack if it has replaced
// its labels, by pprof.Do(context.Background(), …) or a trace started without its
// context, or if the goroutine profile was not complete by the drain's deadline, as
// in a process of 100,000 goroutines. What such a task has started by a bare go is
// not found.
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
			at = "a place unknown, as its profiler labels were replaced or the profile came too late"
		}
		fmt.Fprintf(&b, "%s%s (%d) at %s", sep, l.Task, l.Count, at)
	}
	return b.String()
}

// A search is for the goroutines of an owner. It reads a goroutine profile, which
// takes long in a large process, in a goroutine that ends with that profile.
type search struct {
	owner string
	done  chan struct{} // closed once the rest is set
	found []labels.Found
	err   error
}

func look(owner string) *search {
	s := &search{owner: owner, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		labels.Set(context.Background()) // it is not one of those it looks for
		s.found, s.err = labels.Below(owner)
	}()
	return s
}

// profiled is how long a search may go on after the deadline: enough for a process
// of some thousand goroutines.
const profiled = 10 * time.Millisecond

// leaked returns the goroutines of tasks that are still live, as far as they are
// found by a time.
func (s *search) leaked(live int, by time.Time) *LeakError {
	e := &LeakError{Live: live}
	patience := time.NewTimer(max(time.Until(by), profiled))
	defer patience.Stop()
	select {
	case <-s.done:
	case <-patience.C:
		return e
	}
	if s.err != nil {
		e.Found = []Leak{{Task: s.err.Error()}}
	}
	for _, f := range s.found {
		e.Found = append(e.Found, Leak{f.Name, f.Count, f.Stack})
	}
	return e
}

// leaked returns the tasks that live: by their labels, and by the counts of names.
func (t *tasks) leaked(live int, by time.Time) error {
	t.mu.Lock()
	if t.search == nil {
		t.search = look(t.owner)
	}
	s := t.search
	t.mu.Unlock()
	e := s.leaked(live, by)
	left := map[string]int{}
	for n := t.names.Load(); n != nil; n = n.next {
		left[n.name] = int(n.live.Load())
	}
	e.Found = slices.DeleteFunc(e.Found, func(l Leak) bool {
		if !strings.Contains(l.Stack, "lifecycle.(*tasks).run ") { // a task has started it
			return false
		}
		before := left[l.Task]
		left[l.Task] -= l.Count
		return before <= 0 // it has ended since the search
	})
	for n := t.names.Load(); n != nil; n = n.next {
		if hidden := left[n.name]; hidden > 0 {
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
