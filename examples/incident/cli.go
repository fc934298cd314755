package main

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

// cliAfter is the CLI on evenkeel. An interrupt, a hang-up or the end of its
// input lets the answer arrive, then closes all streams and tasks.
func (r role) cliAfter(log *slog.Logger) int {
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()
	ctx, quit := context.WithCancel(ctx)
	defer quit()

	g := lifecycle.Group{Logger: log}
	var answers drain.Gate
	c := &client{role: r, log: log}
	retry := restart.Policy{Min: r.scaled(retryDelay), Max: r.scaled(30 * retryDelay), Stable: r.scaled(60 * retryDelay)}
	leave := drain.Step{Name: "leave", Stop: func(context.Context) error { log.Info("leaving"); return nil }}
	g.Drain = drain.Plan{Budget: r.scaled(drainBudget), Phases: []drain.Phase{
		{Name: "answers", Timeout: r.scaled(answersEnd), Steps: []drain.Step{{Name: "answers", Stop: answers.Drain}}},
		{Name: "leave", Steps: []drain.Step{leave}},
		{Name: "tasks", Reserve: r.scaled(10 * time.Second), Steps: []drain.Step{g.Step()}},
	}}

	for i := range streams {
		g.Go("screen", func(ctx context.Context) error { return screen(ctx, log, i) })
	}
	for i := range tasks {
		g.Go("render", func(ctx context.Context) error {
			log.Info("task began", "n", i)
			defer log.Info("task ended", "n", i)
			<-ctx.Done()
			return nil
		})
	}
	g.Go("session", retry.Wrap(func(ctx context.Context) error {
		if err := c.hold(ctx); err != nil {
			return err
		}
		return errGoodbye // to be held by the next gateway
	}))
	g.Go("input", func(ctx context.Context) error {
		typed := lines()
		for {
			select {
			case _, ok := <-typed:
				if !ok {
					quit()
					return nil
				}
				if answers.Enter() {
					g.Go("answer", func(ctx context.Context) error {
						defer answers.Leave()
						return retry.Wrap(c.ask)(ctx)
					})
				}
			case <-drain.Stopping(ctx).Done():
				return nil
			}
		}
	})
	return lifecycle.ExitCode(g.Run(ctx))
}

var errGoodbye = errors.New("the gateway said goodbye")

// screen shows the frames of one stream.
func screen(ctx context.Context, log *slog.Logger, n int) error {
	frames := lifecycle.Generate(ctx, 8, func(ctx context.Context, yield func(int) bool) error {
		log.Info("stream opened", "n", n)
		defer log.Info("stream closed", "n", n)
		for frame := 0; ; frame++ {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(10 * time.Millisecond):
			}
			if !yield(frame) {
				return nil
			}
		}
	})
	for range frames.All() {
	}
	return frames.Err()
}

// lines returns what the user types, and closes at its end. A read from a
// terminal cannot be interrupted: the goroutine ends with the process.
func lines() <-chan string {
	typed := make(chan string)
	go func() {
		defer close(typed)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			typed <- in.Text()
		}
	}()
	return typed
}
