package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// A life is one run of a group, in which something happens at a moment:
//
//	0 s   Run; Start takes 10 s, or until its context ends
//	10 s  running: one task
//	20 s  the first stop, if there was none; the drain's first phase takes 4 s of 5
//	21 s  the second, in a forced life; the phase then ends by Kill, which takes 400 ms of 500
type life struct {
	group  lifecycle.Group
	flag   *lifecycle.Flag
	cancel context.CancelCauseFunc // of the parent context
	order  chan func() error       // what the task is to do
	stuck  atomic.Bool             // the drain's first step and its Kill ignore everything

	mu   sync.Mutex
	said []string
}

// say adds to what a row sees.
func (l *life) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

var (
	errStop   = errors.New("stop")
	errParent = errors.New("parent")
)

// The moments at which something happens, by the state that they fall into.
var moments = []struct {
	state string
	at    time.Duration
}{{"starting", 5 * s}, {"running", 15 * s}, {"draining", 20500 * time.Millisecond}, {"forced", 21200 * time.Millisecond}, {"stopped", 60 * s}}

var events = []struct {
	name string
	do   func(l *life)
}{
	{"stop", func(l *life) { l.flag.Raise(errStop) }},
	{"second stop", func(l *life) { l.flag.Raise(errStop); time.Sleep(100 * time.Millisecond); l.flag.Raise(errStop) }},
	{"task error", func(l *life) { l.order <- func() error { return errWork } }},
	{"task panic", func(l *life) { l.order <- func() error { panic("oh") } }},
	{"Goexit", func(l *life) { l.order <- func() error { runtime.Goexit(); return nil } }},
	{"all tasks done", func(l *life) { l.order <- func() error { return nil } }},
	{"parent ended", func(l *life) { l.cancel(errParent) }},
	{"Run again", func(l *life) {
		begin := time.Now()
		err := l.group.Run(context.Background())
		l.say("again %v %v", time.Since(begin), err)
	}},
	{"Go", func(l *life) {
		err := l.group.Go("late", func(context.Context) error { time.Sleep(time.Nanosecond); l.say("late ran"); return nil })
		l.say("Go %v", err)
	}},
	{"step stuck", func(l *life) { l.stuck.Store(true) }},
}

// Every state with every event: when Run returns, with what, and what else is
// seen. In a life in which nothing else happens, it is "24s <nil>", and in a forced
// one "21.4s drain: requests: killed: forced in phase requests".
var lives = map[string]map[string]string{
	"starting": {
		"stop":           "5s <nil>",
		"second stop":    "5s <nil>",
		"task error":     "14s lifecycle: task t: work failed",
		"task panic":     "14s lifecycle: task t: panic: oh",
		"Goexit":         "14s lifecycle: task t: called runtime.Goexit",
		"all tasks done": "14s <nil>",
		"parent ended":   "5s <nil>",
		"Run again":      "24s <nil>, again 19s <nil>",
		"Go":             "24s <nil>, Go <nil>, late ran",
		"step stuck":     "25s drain: requests: abandoned: still running at the end of its phase",
	},
	"running": {
		"stop":           "19s <nil>",
		"second stop":    "15.5s drain: requests: killed: forced in phase requests",
		"task error":     "19s lifecycle: task t: work failed",
		"task panic":     "19s lifecycle: task t: panic: oh",
		"Goexit":         "19s lifecycle: task t: called runtime.Goexit",
		"all tasks done": "19s <nil>",
		"parent ended":   "19s <nil>",
		"Run again":      "24s <nil>, again 9s <nil>",
		"Go":             "24s <nil>, Go <nil>, late ran",
		"step stuck":     "25s drain: requests: abandoned: still running at the end of its phase",
	},
	"draining": {
		"stop":           "20.9s drain: requests: killed: forced in phase requests",
		"second stop":    "20.9s drain: requests: killed: forced in phase requests",
		"task error":     "24s lifecycle: task t: work failed",
		"task panic":     "24s lifecycle: task t: panic: oh",
		"Goexit":         "24s lifecycle: task t: called runtime.Goexit",
		"all tasks done": "24s <nil>",
		"parent ended":   "24s <nil>",
		"Run again":      "24s <nil>, again 3.5s <nil>",
		"Go":             "24s <nil>, Go <nil>, late ran",
		"step stuck":     "24s <nil>", // its Stop is under way: it is not stuck
	},
	"forced": {
		"stop":           "21.4s drain: requests: killed: forced in phase requests",
		"second stop":    "21.4s drain: requests: killed: forced in phase requests",
		"task error":     "21.4s lifecycle: task t: work failed; drain: requests: killed: forced in phase requests",
		"task panic":     "21.4s lifecycle: task t: panic: oh; drain: requests: killed: forced in phase requests",
		"Goexit":         "21.4s lifecycle: task t: called runtime.Goexit; drain: requests: killed: forced in phase requests",
		"all tasks done": "21.4s drain: requests: killed: forced in phase requests",
		"parent ended":   "21.4s drain: requests: killed: forced in phase requests",
		"Run again":      "21.4s drain: requests: killed: forced in phase requests, again 200ms drain: requests: killed: forced in phase requests",
		"Go":             "21.4s drain: requests: killed: forced in phase requests, Go <nil>, late ran",
		"step stuck":     "21.4s drain: requests: killed: forced in phase requests",
	},
	"stopped": {
		"stop":           "24s <nil>",
		"second stop":    "24s <nil>",
		"task error":     "24s <nil>",
		"task panic":     "24s <nil>",
		"Goexit":         "24s <nil>",
		"all tasks done": "24s <nil>",
		"parent ended":   "24s <nil>",
		"Run again":      "24s <nil>, again 0s <nil>",
		"Go":             "24s <nil>, Go lifecycle: the group takes no more tasks",
		"step stuck":     "24s <nil>",
	},
}

func TestGroupStates(t *testing.T) {
	for _, m := range moments {
		for _, e := range events {
			t.Run(m.state+" "+e.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if got, want := live(t, m.at, m.state == "forced", e.do), lives[m.state][e.name]; got != want {
						t.Errorf("got  %s\nwant %s", got, want)
					}
				})
			})
		}
	}
}

// live lives one life and returns what was seen of it.
func live(t *testing.T, at time.Duration, forced bool, event func(*life)) string {
	parent, cancel := context.WithCancelCause(t.Context())
	ctx, flag := lifecycle.WithFlag(parent)
	l := &life{flag: flag, cancel: cancel, order: make(chan func() error, 1)}
	l.group.Logger = slog.New(slog.DiscardHandler)
	l.group.Start = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * s):
			return nil
		}
	}
	l.group.Go("t", func(ctx context.Context) error {
		select {
		case f := <-l.order:
			return f()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	end := make(chan struct{})
	l.group.Drain = drain.Plan{Budget: 20 * s, Phases: []drain.Phase{
		{Name: "requests", Timeout: 5 * s, Steps: []drain.Step{{Name: "requests",
			Stop: func(context.Context) error {
				if l.stuck.Load() {
					time.Sleep(time.Minute)
				}
				select {
				case <-end:
				case <-time.After(4 * s):
				}
				return nil
			},
			Kill: func() {
				if l.stuck.Load() {
					return
				}
				time.Sleep(400 * time.Millisecond)
				close(end)
			}}}},
		{Name: "tasks", Reserve: s, Steps: []drain.Step{l.group.Step()}},
	}}
	begin := time.Now()
	ran := make(chan string, 1)
	go func() {
		err := l.group.Run(ctx)
		ran <- fmt.Sprintf("%v %s", time.Since(begin), strings.ReplaceAll(fmt.Sprint(err), "\n", "; "))
	}()
	time.AfterFunc(20*s, func() { // unless the event was a stop already
		if context.Cause(ctx) == nil {
			flag.Raise(errStop)
		}
	})
	if forced {
		time.AfterFunc(21*s, func() { flag.Raise(errStop) })
	}
	happened := make(chan struct{})
	time.AfterFunc(at, func() { event(l); close(happened) })
	<-happened
	saw := <-ran
	time.Sleep(2 * time.Minute) // what was abandoned ends
	return strings.Join(append([]string{saw}, l.said...), ", ")
}
