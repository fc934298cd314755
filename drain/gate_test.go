package drain_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

func TestGateDrain(t *testing.T) {
	for _, tt := range []struct {
		name       string
		need, give time.Duration
		took       time.Duration
		want       error
	}{
		{"nothing within", 0, s, 0, nil},
		{"in time", s, 5 * s, s, nil},
		{"too slow", 9 * s, 5 * s, 5 * s, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g drain.Gate
				if tt.need > 0 {
					g.Enter()
					time.AfterFunc(tt.need, g.Leave)
				}
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), tt.give)
				defer cancel()
				err := g.Drain(ctx)
				if took := time.Since(start); took != tt.took || !errors.Is(err, tt.want) {
					t.Errorf("Drain: %v after %v; want %v after %v", err, took, tt.want, tt.took)
				}
				if g.Enter() {
					t.Error("admitted after Drain")
				}
				time.Sleep(10 * s)
				if err := g.Drain(t.Context()); err != nil {
					t.Errorf("a later Drain: %v", err)
				}
			})
		})
	}
}

func TestGateLeaveWithoutEnter(t *testing.T) {
	for _, shut := range []bool{false, true} {
		var g drain.Gate
		if shut {
			g.Drain(t.Context())
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			g.Leave()
		}()
		if g.Enter() == shut {
			t.Errorf("after the panic Enter gives %v, shut is %v", !shut, shut)
		}
	}
}

func TestGateJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		begin := time.Now()
		ctx, leave, ok := g.Join(t.Context(), "session 1")
		if !ok {
			t.Fatal("refused")
		}
		soft := drain.Stopping(ctx)
		deaf, leaveDeaf, _ := g.Join(t.Context(), "session 2")
		defer leaveDeaf()
		go func() {
			<-soft.Done()
			if d, ok := soft.Deadline(); !ok || d.Sub(begin) != 4*s || ctx.Err() != nil {
				t.Errorf("deadline %v %v, context %v", d, ok, ctx.Err())
			}
			time.Sleep(s)
			leave()
			leave()
		}()
		time.Sleep(s)
		if soft.Err() != nil {
			t.Error("told before Drain")
		}
		dctx, cancel := context.WithTimeout(t.Context(), 3*s)
		defer cancel()
		err := g.Drain(dctx)
		if want := "drain: 1 still in (session 2 4s): context deadline exceeded"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %v", err, want)
		}
		if got := g.Cut(); !slices.Equal(got, []string{"session 2"}) {
			t.Errorf("Cut: %q", got)
		}
		if !errors.Is(context.Cause(deaf), context.DeadlineExceeded) || context.Cause(ctx) != context.Canceled {
			t.Errorf("causes: %v, %v", context.Cause(deaf), context.Cause(ctx))
		}
		if drain.Stopping(deaf).Err() == nil {
			t.Error("one who asks late is not told")
		}
		if _, leave, ok := g.Join(t.Context(), "late"); ok {
			t.Error("admitted after Drain")
		} else {
			leave()
		}
	})
}

func TestGateErrorIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		for range 100 {
			_, leave, _ := g.Join(t.Context(), "x")
			defer leave()
		}
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		if err := g.Drain(ctx); err == nil || len(err.Error()) > 200 || !strings.Contains(err.Error(), "92 more") {
			t.Errorf("error: %v", err)
		}
	})
}

// BenchmarkGate measures one request's Enter and Leave.
func BenchmarkGate(b *testing.B) {
	var g drain.Gate
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			g.Enter()
			g.Leave()
		}
	})
}
