package lifecycle

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// A LeakError names the tasks that had not returned when [Group.Run] returned. With
// Live 1, it may also be a Start that Run gave up on, or the producer of a stream
// that [Stream.Close] gave up on.
type LeakError struct {
	Live  int    // the exact number of tasks
	Found []Leak // their goroutines, and those that tasks started and left behind
}

// A Leak is a number of goroutines of one task that stand at the same place.
//
// Goroutines are found by their profiler label. Stack is empty, and goroutines that
// the task started by a bare go are missing, in two cases: the task replaced its
// labels, as by pprof.Do(context.Background(), …); or the goroutine profile was not
// complete by the drain's deadline, as in a process with 100,000 goroutines.
type Leak struct {
	Task  string // its name; "(others)" from a group's 65th name on; "stream" for a stream that belongs to no task
	Count int
	Stack string // a line for each call, innermost first: function file:line
}

func (e *LeakError) Error() string {
	text := fmt.Sprintf("lifecycle: %d tasks did not end", e.Live)
	if e.Live == 1 {
		text = "lifecycle: 1 task did not end"
	}
	sep := ": "
	for _, l := range e.Found {
		at, _, _ := strings.Cut(l.Stack, "\n")
		if l.Stack == "" && l.Count > 0 {
			at = "an unknown place, as its profiler labels were replaced or the profile came too late"
		}
		text += fmt.Sprintf("%s%s (%d) at %s", sep, l.Task, l.Count, at)
		sep = "; "
	}
	return text
}

// A search looks for the goroutines of an owner, in a goroutine that ends with the
// goroutine profile it reads. In a large process that takes long.
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
		labels.Set(context.Background()) // it must not find itself
		s.found, s.err = labels.Below(owner)
	}()
	return s
}

// profiled is how long leaked waits at least, even after the deadline. A process with
// some thousand goroutines needs less.
const profiled = 10 * time.Millisecond

// leaked returns the LeakError for live tasks, with the goroutines that are found by
// the time by.
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

// leaked returns the live tasks. Those that the search does not find are known by
// the counts of their names.
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
		if !strings.Contains(l.Stack, "lifecycle.(*named).run ") { // a task started it by a bare go
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

// A PanicError is a panic of a task, of Start, of a drain step or of a stream's
// producer. [Group.Logger] says when a panic is logged; [ExitCode] logs the stack of each
// that was not.
type PanicError = drain.PanicError
