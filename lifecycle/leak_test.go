package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

func TestLeakError(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Drain: drain.Plan{Budget: s}}
		free := make(chan struct{})
		for range 3 {
			g.Go("worker", func(context.Context) error { stuckHere(free); return nil })
		}
		g.Go("parent", func(ctx context.Context) error {
			go stuckHere(free) // a bare go: found by its label
			<-free
			return nil
		})
		go func() { time.Sleep(s); flag.Raise(nil) }()
		err := g.Run(ctx)
		var leak *lifecycle.LeakError
		if !errors.As(err, &leak) || leak.Live != 4 {
			t.Fatalf("%v", err)
		}
		count := map[string]int{}
		for _, l := range leak.Found {
			if strings.Contains(l.Stack, "stuckHere") {
				count[l.Task] += l.Count
			}
		}
		if count["worker"] != 3 || count["parent"] != 1 {
			t.Errorf("found %v in\n%v", count, leak)
		}
		close(free)
	})
}

func stuckHere(free chan struct{}) { <-free }
