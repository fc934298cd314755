package lifecycle_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
	"github.com/evenkeel-go/evenkeel/restart/leasetest"
)

// While a task waits for a lease, the status names its holder, and until when the
// holder drains at most. After the stop has begun, a wait is no longer shown. Notify
// never runs twice at once, though it blocks.
func TestWaitingTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var register leasetest.Memory
		lease := func() *restart.Lease {
			return &restart.Lease{Register: &register, Logger: slog.New(slog.DiscardHandler)}
		}
		release := make(chan struct{})
		first := make(chan error, 1)
		go func() {
			first <- lease().Wrap(func(context.Context, uint64) error { <-release; return nil })(t.Context())
		}()
		time.Sleep(time.Second)

		ctx, stop := context.WithCancel(t.Context())
		var lines []string
		inside := false
		g := lifecycle.Group{Notify: func(s lifecycle.Status) {
			if inside {
				t.Error("two calls of Notify at once")
			}
			inside = true
			time.Sleep(time.Millisecond)
			inside = false
			lines = append(lines, s.String())
		}}
		ended := time.Time{}
		g.Go("poll", lease().Wrap(func(ctx context.Context, term uint64) error { <-ctx.Done(); ended = time.Now(); return ctx.Err() }))
		g.Go("other", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(500 * time.Millisecond)
			carried.Wait(ctx, "nothing any more", time.Time{})
			return nil
		})
		time.AfterFunc(time.Minute, func() { close(release) })
		time.AfterFunc(2*time.Minute, stop)
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		all := strings.Join(lines, "\n")
		if !strings.Contains(all, "\nwaiting: the lease, held by ") || strings.Contains(all, "nothing any more") || ended.IsZero() {
			t.Error(all)
		}
		if strings.LastIndex(all, "waiting: the lease") > strings.LastIndex(all, "\nrunning\n") {
			t.Errorf("the status does not end with the wait: %s", all)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// A status of a group that runs has what a task waits for.
func TestWaitingStatus(t *testing.T) {
	until := time.Date(2000, 1, 1, 12, 3, 4, 0, time.UTC)
	s := lifecycle.Status{State: lifecycle.Running, Waiting: "the lease", Until: until}
	if got := fmt.Sprint(s); got != "waiting until 12:03:04: the lease" {
		t.Error(got)
	}
}
