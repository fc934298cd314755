package lifecycle_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// The state is running once as many tasks run as the limit allows, although others wait.
func TestGroupNotifyAtLimit(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		begin := time.Now()
		var got []string
		g := lifecycle.Group{Limit: 2, Notify: func(st lifecycle.Status) {
			if st.Deadline.IsZero() { // not the drain's progress
				got = append(got, fmt.Sprint(st.State, " ", time.Since(begin)))
			}
		}}
		for range 3 {
			g.Go("a", func(ctx context.Context) error {
				select {
				case <-ctx.Done():
				case <-time.After(s):
				}
				return nil
			})
		}
		time.AfterFunc(1500*time.Millisecond, func() { flag.Raise(nil) })
		if err := g.Run(ctx); err != nil || fmt.Sprint(got) != "[running 0s draining 1.5s]" {
			t.Errorf("%v, notified of %v", err, got)
		}
	})
}

// Between the stop and its own phase a group still takes the tasks that its drain needs,
// but Go does not wait for the limit.
func TestGroupGoWhileDraining(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Limit: 2}
		ran := false
		g.Drain.Phases = []drain.Phase{{Name: "requests", Steps: []drain.Step{{Name: "requests", Stop: func(context.Context) error {
			synctest.Wait() // the spawner has left
			if err := g.Go("child", func(context.Context) error { ran = true; time.Sleep(s); return nil }); err != nil {
				t.Error(err)
			}
			if err := g.Go("one too many", until); err != lifecycle.ErrStopped {
				t.Errorf("Go at the limit: %v", err)
			}
			return nil
		}}}}}
		g.Go("a", until)
		g.Go("spawner", func(ctx context.Context) error {
			if err := g.Go("blocked", until); err != lifecycle.ErrStopped {
				t.Errorf("a Go that waited for the limit: %v", err)
			}
			return nil
		})
		time.AfterFunc(s, func() { flag.Raise(nil) })
		if err := g.Run(ctx); err != nil || !ran {
			t.Errorf("%v, child ran: %v", err, ran)
		}
	})
}
