// Poller long-polls a bot's updates. Of several such processes, one polls and the others
// wait to take over:
//
//	go run ./examples/poller -api https://api.telegram.org -token "$TOKEN" -lock /run/bot/poller
//
// It handles each update at least once, and exactly once unless it was killed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

func main() {
	b := &bot{}
	flag.StringVar(&b.api, "api", "https://api.telegram.org", "`URL` of the bot API")
	flag.StringVar(&b.token, "token", "", "the bot's `token`")
	flag.DurationVar(&b.timeout, "poll", 5*time.Second, "how long the API may hold a poll, in whole seconds")
	path := flag.String("lock", "", "`file` that all pollers of this machine share")
	flag.Parse()
	b.log = slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("pid", os.Getpid())
	slog.SetDefault(b.log) // for ExitCode
	os.Exit(lifecycle.ExitCode(run(b, *path)))
}

func run(b *bot, path string) error {
	if b.token == "" || b.timeout < time.Second || b.timeout%time.Second != 0 {
		return restart.Permanent(errors.New("poller: -token: empty, or -poll: not a number of whole seconds"))
	}
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()

	// The API thinks that a dead poller's last poll is still there.
	lock := &restart.Lock{Path: path, Secret: b.token, Linger: b.held(), Logger: b.log}
	g := lifecycle.Group{Start: lock.Acquire, Notify: lifecycle.Systemd, Logger: b.log}
	// 27.5 s with polls of 5 s; TimeoutStopSec= must be more.
	g.Drain = drain.Plan{Budget: 3*b.held() + 5*time.Second, Phases: []drain.Phase{
		{Name: "poll", Timeout: b.held() + time.Second, Steps: []drain.Step{{Name: "poll", Stop: b.polls.Drain}}},
		{Name: "confirm", Reserve: 2*b.held() + time.Second, Steps: []drain.Step{{Name: "confirm", Stop: b.confirm}}},
		{Name: "tasks", Reserve: time.Second, Steps: []drain.Step{g.Step()}},
		{Name: "lock", Reserve: time.Second, Steps: []drain.Step{{Name: "lock", Stop: func(ctx context.Context) error {
			if b.unsettled() || len(b.polls.Cut()) > 0 {
				return errors.New("not released: the next poller lingers")
			}
			return lock.Release(ctx)
		}}}},
	}}
	// A flaky proxy is no crash loop: after two good polls its failures are forgiven.
	policy := restart.Policy{Min: b.timeout / 10, Max: b.timeout, Stable: 2 * b.timeout, Logger: b.log}
	g.Go("poll", policy.Wrap(b.run))
	return g.Run(ctx)
}

// handle does the bot's work for an update.
func (b *bot) handle(u update) error {
	_, err := fmt.Println(u.ID)
	return err
}
