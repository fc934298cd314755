//go:build unix

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

const (
	settle = 200 * time.Millisecond  // readiness fails for so long before connections are refused
	budget = 1800 * time.Millisecond // of the drain; the test allows 2 s until the exit
)

// A server stops well, in parts that a mistake replaces.
type server struct {
	site
	addr            string
	http            *http.Server
	group           lifecycle.Group
	budget          time.Duration
	signals         func(context.Context) (context.Context, context.CancelFunc)
	stopped         context.Context // ends at the first signal; set when run begins
	listen          net.ListenConfig
	serve           func(context.Context, net.Listener) error
	requests, store drain.Step
	last            func() // runs when all is stopped
}

func newServer(addr, dir string) *server {
	s := &server{addr: addr, http: new(http.Server), budget: budget, last: func() {}}
	stopping := make(chan struct{})
	s.site = site{goodbye: "data: goodbye\n\n", stopping: stopping, ready: s.group.Readyz}
	s.http.Handler = s.site.routes()
	s.http.RegisterOnShutdown(func() { close(stopping) })
	web := &drain.Server{HTTP: s.http, Settle: settle}
	s.serve, s.requests = web.Serve, web.Step()
	s.signals = func(ctx context.Context) (context.Context, context.CancelFunc) { return lifecycle.WithSignals(ctx) }
	var jobs *os.File
	s.group.Start = func(context.Context) (err error) {
		jobs, err = os.OpenFile(filepath.Join(dir, "jobs"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		s.jobs = jobs
		return err
	}
	s.store = drain.Do("jobs", func() {
		if jobs != nil {
			jobs.Close()
		}
	})
	return s
}

func (s *server) run() error {
	ctx, stop := s.signals(context.Background())
	defer stop()
	s.stopped = ctx
	s.group.Drain = drain.Plan{Budget: s.budget, Phases: []drain.Phase{
		{Name: "requests", Timeout: s.budget, Steps: []drain.Step{s.requests}},
		{Name: "tasks", Reserve: 50 * time.Millisecond, Steps: []drain.Step{s.group.Step()}},
		{Name: "store", Reserve: 50 * time.Millisecond, Steps: []drain.Step{s.store}},
	}}
	s.group.Go("http", func(ctx context.Context) error {
		l, err := s.listen.Listen(ctx, "tcp", s.addr)
		if err != nil {
			return err
		}
		return s.serve(ctx, l)
	})
	err := s.group.Run(ctx)
	s.last()
	return err
}

// plain makes the server one of net/http alone. Its readiness fails, balancers have the
// time to notice, and then end is called.
func (s *server) plain(end func(context.Context) error) {
	s.serve = func(_ context.Context, l net.Listener) error {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	s.requests = drain.Step{
		Name: "http",
		Stop: func(ctx context.Context) error {
			select {
			case <-time.After(settle):
				return end(ctx)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
		Kill: func() { s.http.Close() },
	}
}
