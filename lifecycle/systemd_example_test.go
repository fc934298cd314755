package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// Start listens and a task serves, so systemd gets READY=1 only once the server can
// be reached. Without a socket unit that is all it takes.
func ExampleSystemd() {
	ctx, stop := context.WithCancel(context.Background()) // in main: lifecycle.WithSignals
	var l net.Listener
	web := &drain.Server{HTTP: &http.Server{Handler: http.NotFoundHandler()}}
	g := lifecycle.Group{
		Start: func(ctx context.Context) (err error) {
			l, err = new(net.ListenConfig).Listen(ctx, "tcp", "localhost:0")
			return err
		},
		Drain: drain.Plan{Phases: []drain.Phase{{Name: "requests", Steps: []drain.Step{web.Step()}}}},
		Notify: func(s lifecycle.Status) { // usually: Notify: lifecycle.Systemd
			lifecycle.Systemd(s)
			if s.State == lifecycle.Running {
				if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
					fmt.Println("ready, and accepts connections")
					c.Close()
				}
				stop()
			}
		},
	}
	g.Go("http", func(ctx context.Context) error { return web.Serve(ctx, l) })
	fmt.Println(g.Run(ctx))
	// Output:
	// ready, and accepts connections
	// <nil>
}

// The watchdog restarts a service whose consumer is stuck. It is a task like any
// other, and returns at once if the unit has no WatchdogSec=.
func ExampleWatchdog() {
	beat := make(chan struct{})
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	var g lifecycle.Group
	g.Go("consumer", func(ctx context.Context) error {
		for {
			select {
			case beat <- struct{}{}: // between two messages
			case <-ctx.Done():
				return nil
			}
		}
	})
	g.Go("watchdog", lifecycle.Watchdog(func(ctx context.Context) error {
		select {
		case <-beat:
			return nil
		case <-ctx.Done():
			return errors.New("the consumer is stuck")
		}
	}))
	fmt.Println(g.Run(ctx))
	// Output:
	// <nil>
}

// Report shows which step took the time of the drain.
func ExampleGroup_Report() {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	var g lifecycle.Group
	g.Drain.Phases = []drain.Phase{
		{Name: "requests", Steps: []drain.Step{{Name: "web", Stop: func(context.Context) error { return nil }}}},
		{Name: "db", Steps: []drain.Step{{Name: "db", Stop: func(context.Context) error { return errors.New("not flushed") }}}},
	}
	_, drained := g.Report()
	fmt.Println("before Run:", drained)
	g.Run(ctx)
	report, _ := g.Report()
	for _, r := range report.Results {
		fmt.Println(r.Phase, r.Step, r.Outcome, r.Err)
	}
	// Output:
	// before Run: false
	// requests web ok <nil>
	// db db error not flushed
	// tasks tasks ok <nil>
}
