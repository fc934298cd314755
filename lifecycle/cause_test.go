package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// A drain knows why it began, even if no signal caused it.
func TestDrainCause(t *testing.T) {
	var log bytes.Buffer
	var seen error
	g := lifecycle.Group{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	g.Drain.Phases = []drain.Phase{{Name: "p", Steps: []drain.Step{{Name: "s", Stop: func(ctx context.Context) error {
		seen = ctx.Err()
		return nil
	}}}}}
	broken := errors.New("disk gone")
	g.Go("writer", func(context.Context) error { return broken })
	if err := g.Run(t.Context()); !errors.Is(err, broken) || seen != nil {
		t.Errorf("%v, and the step's context %v", err, seen)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "drain began") && !strings.Contains(line, `cause="lifecycle: task writer: disk gone"`) {
			t.Error(line)
		}
	}
}

// A manyErr is an error that == cannot compare.
type manyErr []string

func (e manyErr) Error() string { return strings.Join(e, ", ") }

// A holder has a comparable type, but a value that == cannot compare.
type holder struct{ what any }

func (holder) Error() string { return "held" }

// A task that returns the stop's cause, of whatever type, has not failed. Another error
// of the same type is a failure.
func TestGroupUncomparableCause(t *testing.T) {
	for _, tt := range []struct {
		why, err error
		fails    bool
	}{
		{manyErr{"a", "b"}, nil, false},
		{manyErr{"a", "b"}, manyErr{"a", "c"}, true},
		{holder{[]int{1}}, nil, false},
		{holder{[]int{1}}, holder{[]int{2}}, true},
		{holder{1}, holder{[]int{2}}, true},
		{holder{1}, holder{1}, false},
	} {
		bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
			var g lifecycle.Group
			g.Go("a", func(ctx context.Context) error {
				<-ctx.Done()
				if tt.err != nil {
					return tt.err
				}
				return fmt.Errorf("a: %w", context.Cause(ctx))
			})
			time.AfterFunc(s, func() { flag.Raise(tt.why) })
			if err := g.Run(ctx); (err != nil) != tt.fails {
				t.Errorf("a task that returns %v, of %v: %v", tt.err, tt.why, err)
			}
		})
	}
}

// A task that obeys the end of Run's own context has not failed, even if it returns
// before Run has seen that end.
func TestGroupObeysRunsContext(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Notify: func(st lifecycle.Status) {
			if st.State == lifecycle.Running { // Run is still here
				flag.Raise(errors.New("enough"))
				synctest.Wait()
			}
		}}
		g.Go("canceled", func(context.Context) error { <-ctx.Done(); return ctx.Err() })
		g.Go("cause", func(context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		g.Go("long", func(in context.Context) error { <-in.Done(); return in.Err() })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A task of an inner group that obeys the outer group's stop has not failed. So the inner
// group's other tasks go on until their phase.
func TestGroupObeysOuterStop(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		var outer, inner lifecycle.Group
		inner.Go("obeys", func(ctx context.Context) error {
			stopping := drain.Stopping(ctx)
			<-stopping.Done()
			return context.Cause(stopping)
		})
		cut := false
		inner.Go("long", func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				cut = true
			case <-time.After(2 * s):
			}
			return nil
		})
		outer.Go("inner", func(ctx context.Context) error {
			err := inner.Run(ctx)
			if err != nil {
				t.Error(err)
			}
			return err
		})
		outer.Drain.Phases = []drain.Phase{{Name: "first", Steps: []drain.Step{
			{Name: "slow", Stop: func(context.Context) error { time.Sleep(3 * s); return nil }},
		}}}
		time.AfterFunc(s, func() { flag.Raise(errors.New("enough")) })
		if err := outer.Run(ctx); err != nil || cut {
			t.Errorf("%v; the inner group's other task was cut: %v", err, cut)
		}
	})
}
