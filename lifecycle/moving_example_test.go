package lifecycle_test

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// Moving from errgroup and signal.NotifyContext: each line has its counterpart, and
// tasks keep their signature once they take the context.
func ExampleGroup_moving() {
	before := func(ctx context.Context) error {
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(10)
		g.Go(func() error { return work(ctx) }) // cancelled by the signal, at once
		return g.Wait()                         // for as long as work takes; "context canceled" after a signal
	}
	after := func(ctx context.Context) error {
		ctx, stop := lifecycle.WithSignals(ctx) // the second signal forces, the third kills
		defer stop()
		g := lifecycle.Group{Limit: 10}
		g.Go("work", work) // cancelled in its phase of g.Drain
		return g.Run(ctx)  // for the Budget at most; nil after a signal
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond) // instead of a signal
	defer stop()
	fmt.Println("before:", before(ctx))
	fmt.Println("after: ", after(ctx))
	// Output:
	// before: context deadline exceeded
	// after:  <nil>
}

func work(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
