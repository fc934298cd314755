package drain_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// Two plans with budgets of 25 s, one in a step of the other: the outer Stop has 24 s,
// and the inner plan 23.9 s.
func TestPlanInPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var stop, inner time.Duration
		p := drain.Plan{Phases: []drain.Phase{phase("a", 0, 0, step(func(ctx context.Context) error {
			d, _ := ctx.Deadline()
			r, err := drain.Plan{}.Run(ctx)
			stop, inner = d.Sub(begin), r.Deadline.Sub(begin)
			return err
		}))}}
		if _, err := p.Run(t.Context()); err != nil || stop != 24*s || inner != 23900*ms {
			t.Errorf("%v; Stop has %v, the inner plan %v", err, stop, inner)
		}
	})
}

// A Logger gets a step's panic when it happens, with its stack. Without a Logger the
// caller alone does.
func TestPlanLogsPanic(t *testing.T) {
	var out bytes.Buffer
	p := drain.Plan{Logger: slog.New(slog.NewTextHandler(&out, nil)), Phases: []drain.Phase{phase("a", 0, 0, step(bursts))}}
	if p.Run(t.Context()); !strings.Contains(out.String(), `level=ERROR msg=panic name=s error="panic: oh" stack="goroutine `) || !strings.Contains(out.String(), "drain_test.bursts") {
		t.Error(out.String())
	}
}

func bursts(context.Context) error { panic("oh") }
