package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/pprof"
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

// Tasks that have replaced their labels are still named. From the 65th name on they
// are "(others)".
func TestLeakErrorWithoutLabels(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Drain: drain.Plan{Budget: s}}
		free := make(chan struct{})
		unlabelled := func(context.Context) error {
			pprof.Do(context.Background(), pprof.Labels("route", "/y"), func(context.Context) { stuckHere(free) })
			return nil
		}
		labelled := func(ctx context.Context) error {
			pprof.Do(ctx, pprof.Labels("route", "/y"), func(context.Context) { stuckHere(free) })
			return nil
		}
		g.Go("mixed", unlabelled)
		g.Go("mixed", unlabelled)
		g.Go("mixed", labelled)
		g.Go("returned", func(context.Context) error { return nil })
		for i := range 70 {
			g.Go(fmt.Sprint("n", i), func(ctx context.Context) error {
				switch {
				case i < 60:
					return until(ctx)
				case i%2 == 0:
					return unlabelled(ctx)
				}
				return labelled(ctx)
			})
		}
		time.AfterFunc(s, func() { flag.Raise(nil) })
		var leak *lifecycle.LeakError
		if err := g.Run(ctx); !errors.As(err, &leak) || leak.Live != 13 {
			t.Fatalf("%v", err)
		}
		got := map[string]int{}
		for _, l := range leak.Found {
			task := l.Task
			if l.Stack == "" {
				task += ", no stack"
			}
			got[task] += l.Count
		}
		want := map[string]int{
			"mixed": 1, "mixed, no stack": 2,
			"n60, no stack": 1, "n61": 1, // the 63rd and 64th name
			"(others)": 4, "(others), no stack": 4,
		}
		if !maps.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if text := leak.Error(); !strings.Contains(text, "mixed (2) at an unknown place, as its profiler labels were replaced") {
			t.Error(text)
		}
		close(free)
	})
}

func stuckHere(free chan struct{}) { <-free }
