package drain_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// Once, the drain's deadline was lost in a derived context: with WithCancel there
// was none, and with WithTimeout(1m) it was 59.9 s away for a drain of 3 s.
func TestStoppingDeadline(t *testing.T) {
	for _, tt := range []struct {
		name   string
		derive func(context.Context) (context.Context, context.CancelFunc)
		before string // the deadline before the stop, from now on
		after  string
	}{
		{"none", func(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} }, "none", "3s"},
		{"WithCancel", context.WithCancel, "none", "3s"},
		{"WithTimeout, later", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Minute)
		}, "1m0s", "3s"},
		{"WithTimeout, earlier", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 2*s)
		}, "2s", "2s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				until := func(ctx context.Context) string {
					d, ok := ctx.Deadline()
					if !ok {
						return "none"
					}
					return d.Sub(begin).String()
				}
				var g drain.Gate
				ctx, leave, _ := g.Join(t.Context(), "a")
				ctx, cancel := tt.derive(ctx)
				defer cancel()
				soft := drain.Stopping(ctx)
				child, cancelChild := context.WithCancel(soft)
				defer cancelChild()
				if got := until(soft); got != tt.before {
					t.Errorf("before the stop: %s, want %s", got, tt.before)
				}
				drainCtx, cancelDrain := context.WithTimeoutCause(t.Context(), 3*s, errors.New("no time"))
				defer cancelDrain()
				go g.Drain(drainCtx)
				synctest.Wait()
				if until(soft) != tt.after || until(child) != tt.after || soft.Err() == nil || child.Err() == nil || ctx.Err() != nil {
					t.Errorf("after the stop: %s, %s, want %s; %v, %v, %v", until(soft), until(child), tt.after, soft.Err(), child.Err(), ctx.Err())
				}
				if why := context.Cause(soft); why == nil || why == context.Canceled || why != context.Cause(child) {
					t.Errorf("causes: %v, %v", why, context.Cause(child))
				}
				leave()
			})
		})
	}
}

// Work that joins with an earlier deadline than the drain's keeps it.
func TestStoppingOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		want := time.Now().Add(2 * s)
		outside, cancel := context.WithDeadline(t.Context(), want)
		defer cancel()
		ctx, leave, _ := g.Join(outside, "a")
		defer leave()
		drainCtx, cancelDrain := context.WithTimeout(t.Context(), 3*s)
		defer cancelDrain()
		go g.Drain(drainCtx)
		synctest.Wait()
		if got, ok := drain.Stopping(ctx).Deadline(); !ok || got != want {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// Once, each key of type *int went to the soft context, and a caller's own lost its
// value.
func TestStoppingValue(t *testing.T) {
	key := new(int)
	var g drain.Gate
	ctx, leave, _ := g.Join(context.WithValue(t.Context(), key, "outside"), "a")
	defer leave()
	inside := context.WithValue(ctx, key, "inside")
	derived, cancel := context.WithCancel(inside)
	defer cancel()
	for _, tt := range []struct {
		ctx  context.Context
		want string
	}{{ctx, "outside"}, {inside, "inside"}, {derived, "inside"}, {drain.Stopping(inside), "inside"}} {
		if got := drain.Stopping(tt.ctx).Value(key); got != tt.want {
			t.Errorf("%v, want %s", got, tt.want)
		}
	}
}

// A derived context that ends leaves nothing behind with its owner: a connection
// that asks Stopping for each of its messages would grow for ever.
func TestStoppingForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		ctx, leave, _ := g.Join(t.Context(), "a")
		defer leave()
		use := func(n int) uint64 {
			for range n {
				derived, cancel := context.WithCancel(ctx)
				drain.Stopping(derived)
				cancel()
				synctest.Wait() // the AfterFuncs have run
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := use(1000)
		if after := use(20_000); after > before+1<<20 {
			t.Errorf("%d bytes left by each", (after-before)/20_000)
		}
	})
}
