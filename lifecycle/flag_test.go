package lifecycle

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
)

func TestMain(m *testing.M) {
	programs()
	goleak.VerifyTestMain(m)
}

func TestStage(t *testing.T) {
	const soon, late = 99 * time.Millisecond, 100 * time.Millisecond
	for _, tt := range []struct {
		from  stage
		since time.Duration
		want  stage
	}{
		{calm, 0, asked}, {calm, time.Hour, asked},
		{asked, 0, asked}, {asked, soon, asked}, {asked, late, forced}, {asked, 101 * time.Millisecond, forced},
		{forced, soon, forced}, {forced, late, lethal},
		{lethal, soon, lethal}, {lethal, time.Hour, lethal},
		{asked, -time.Hour, asked}, // a clock that goes back
	} {
		if got := tt.from.next(tt.since, apart); got != tt.want {
			t.Errorf("%v.next(%v) is %v, want %v", tt.from, tt.since, got, tt.want)
		}
	}
}

func TestFlag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, f := WithFlag(t.Context())
		stop := carried.StopOf(context.WithoutCancel(ctx))
		if f.Raised() || ctx.Err() != nil || !stop.Asked().IsZero() {
			t.Error("raised from the start")
		}
		why := errors.New("why")
		begin := time.Now()
		f.Raise(why)
		f.Raise(errors.New("a double"))
		time.Sleep(99 * time.Millisecond)
		f.Raise(errors.New("still a double"))
		if !f.Raised() || context.Cause(ctx) != why || stop.Asked() != begin {
			t.Errorf("raised %v, cause %v, asked %v", f.Raised(), context.Cause(ctx), stop.Asked())
		}
		if stop.Force.Err() != nil {
			t.Error("forced by a double")
		}
		time.Sleep(2 * time.Millisecond)
		f.Raise(nil)
		if stop.Force.Err() == nil || stop.Asked() != begin {
			t.Errorf("not forced, or asked at %v", stop.Asked())
		}
		time.Sleep(time.Second)
		f.Raise(nil) // the third: without a hook it kills nothing
		f.Raise(nil)
	})
}

func TestFlagParent(t *testing.T) {
	parent, cancel := context.WithCancelCause(context.Background())
	ctx, f := WithFlag(parent)
	why := errors.New("parent")
	cancel(why)
	if f.Raised() || context.Cause(ctx) != why {
		t.Errorf("raised %v, cause %v", f.Raised(), context.Cause(ctx))
	}
}

// A flag inside another flag's context: each can stop, and each can force.
func TestFlagNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		outside, outer := WithFlag(t.Context())
		ctx, inner := WithFlag(outside)
		stop := carried.StopOf(ctx)
		time.Sleep(time.Second)
		outer.Raise(nil)
		if ctx.Err() == nil || inner.Raised() || stop.Asked().Sub(begin) != time.Second {
			t.Errorf("%v, raised %v, asked %v", ctx.Err(), inner.Raised(), stop.Asked())
		}
		time.Sleep(time.Second)
		inner.Raise(nil)
		if stop.Force.Err() != nil || stop.Asked().Sub(begin) != time.Second {
			t.Errorf("forced by one Raise of each, asked %v", stop.Asked())
		}
		outer.Raise(nil)
		if stop.Force.Err() == nil {
			t.Error("not forced by the outer flag's second Raise")
		}
	})
}

// A hook tells a doubled Ctrl-C from signals that were sent apart, but received together
// because the goroutines waited for a CPU.
func TestHook(t *testing.T) {
	for _, tt := range []struct {
		name  string
		late  bool
		after []time.Duration // between the signals
		want  stage
		kills int // which signal kills; 0: none
	}{
		{"apart", false, []time.Duration{apart, apart}, lethal, 3},
		{"a double", false, []time.Duration{0}, asked, 0},
		{"a double, late", true, []time.Duration{0}, asked, 0},
		{"a chain of wrappers", false, []time.Duration{0, 0, 0, 0}, asked, 0},
		{"three received together", true, []time.Duration{0, 0}, forced, 0},
		{"four received together", true, []time.Duration{0, 0, 0}, lethal, 4},
		{"three, and then one", true, []time.Duration{0, 0, apart}, lethal, 4},
		{"a double each time", true, []time.Duration{0, apart, 0}, forced, 0},
		{"two doubles and one", true, []time.Duration{0, apart, 0, apart}, lethal, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, f := WithFlag(t.Context())
				c := make(chan os.Signal, 1)
				n, killed := 0, 0
				go f.hook(c, func() bool { return tt.late }, func(os.Signal) { killed = n })
				for _, d := range append([]time.Duration{0}, tt.after...) {
					time.Sleep(d)
					n++
					c <- os.Interrupt
					synctest.Wait()
				}
				close(c)
				synctest.Wait()
				var s *SignalError
				if f.stage != tt.want || killed != tt.kills || !errors.As(context.Cause(ctx), &s) {
					t.Errorf("stage %d, killed by %d, cause %v; want stage %d, killed by %d", f.stage, killed, context.Cause(ctx), tt.want, tt.kills)
				}
			})
		})
	}
}

// The phase that a group adds for its tasks makes no valid plan invalid, and Run
// names the field that is not valid before it runs anything.
func FuzzGroupFields(f *testing.F) {
	f.Add(0, int64(0), int64(0), int64(0), "requests")
	f.Add(3, int64(time.Second), int64(time.Second), int64(time.Second), "tasks")
	f.Add(-1, int64(-1), int64(1), int64(2), "")
	f.Fuzz(func(t *testing.T, limit int, budget, timeout, reserve int64, name string) {
		plan := drain.Plan{Budget: time.Duration(budget), Phases: []drain.Phase{{Name: name, Timeout: time.Duration(timeout), Reserve: time.Duration(reserve)}}}
		valid := plan.Validate()
		ran := false
		g := Group{Limit: min(limit, 1<<10), Drain: plan, Start: func(context.Context) error { ran = true; return nil }}
		ctx, cancel := context.WithCancel(t.Context())
		g.Go("a", func(context.Context) error { return nil })
		err := g.Run(ctx)
		cancel()
		if ok := valid == nil && limit >= 0; ok != ran || !ok && err == nil { // a drain of some ns may fail
			t.Errorf("Run: %v, Start ran: %v; the plan: %v", err, ran, valid)
		}
		if limit < 0 && !strings.Contains(err.Error(), "Group.Limit") {
			t.Error(err)
		}
	})
}
