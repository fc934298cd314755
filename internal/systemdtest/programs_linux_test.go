package systemdtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/proctest"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

func TestMain(m *testing.M) {
	proctest.Main(map[string]func(){"enter": enter, "slow": slow, "web": web, "queue": queue, "crash": crash, "wedge": wedge, "second": second})
	goleak.VerifyTestMain(m)
}

// own returns the path of a file of this program that outlives it.
func own(suffix string) string { return "/rw/" + os.Getenv("NAME") + "." + suffix }

// first reports whether no instance has called it before.
func first() bool {
	f, err := os.OpenFile(own("first"), os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// run is the main of all programs.
func run(g *lifecycle.Group) {
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()
	g.Notify = lifecycle.Systemd
	g.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	os.Exit(lifecycle.ExitCode(g.Run(ctx)))
}

func untilDone(ctx context.Context) error { <-ctx.Done(); return nil }

// slow takes 700 ms to start.
func slow() {
	g := lifecycle.Group{Start: func(context.Context) error { time.Sleep(700 * time.Millisecond); return nil }}
	g.Go("task", untilDone)
	run(&g)
}

// web tells its pid, and has streams.
func web() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for {
			fmt.Fprintf(w, "data: %d\n\n", os.Getpid())
			http.NewResponseController(w).Flush()
			select {
			case <-again.C:
			case <-drain.Stopping(r.Context()).Done():
				fmt.Fprint(w, "event: goodbye\n\n")
				return
			}
		}
	})
	s := drain.Server{HTTP: &http.Server{Addr: os.Getenv("ADDR"), Handler: mux}}
	g := lifecycle.Group{Drain: drain.Plan{Phases: []drain.Phase{{Name: "requests", Steps: []drain.Step{s.Step()}}}}}
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		g.Start = (&restart.Ledger{Path: dir + "/ledger"}).Begin
	}
	g.Go("http", s.ListenAndServe)
	g.Go("watchdog", lifecycle.Watchdog(func(context.Context) error { return nil }))
	run(&g)
}

// queue has 25 jobs. Once the drain has begun, one ends each 100 ms, or none if STUCK is
// set. If FAIL is set, queue stops by itself.
func queue() {
	var jobs drain.Gate
	for range 25 {
		jobs.Enter()
	}
	g := lifecycle.Group{Drain: drain.Plan{Phases: []drain.Phase{{Name: "jobs", Steps: []drain.Step{{Name: "queue", Stop: jobs.Drain}}}}}}
	g.Go("worker", func(ctx context.Context) error {
		<-drain.Stopping(ctx).Done()
		for range 25 {
			time.Sleep(100 * time.Millisecond)
			if os.Getenv("STUCK") == "" {
				jobs.Leave()
			}
		}
		return nil
	})
	g.Go("fails", func(ctx context.Context) error {
		if os.Getenv("FAIL") != "" {
			return errors.New("broken")
		}
		return untilDone(ctx)
	})
	run(&g)
}

// crash fails 50 ms after its start, in the way that CRASH says, unless that is "never".
// If LEDGER is set, a ledger slows it down.
func crash() {
	var g lifecycle.Group
	ledger := &restart.Ledger{Path: own("ledger"), Policy: restart.Policy{Min: 200 * time.Millisecond, Max: 3 * time.Second, Stable: time.Minute, Jitter: -1}}
	g.Start = func(ctx context.Context) error {
		if os.Getenv("LEDGER") != "" {
			if err := ledger.Begin(ctx); err != nil {
				return err
			}
		}
		return begun()
	}
	g.Go("task", func(ctx context.Context) error {
		time.Sleep(50 * time.Millisecond)
		switch how, first := os.Getenv("CRASH"), first(); {
		case how == "end":
			return nil
		case how == "permanent":
			return restart.Permanent(errors.New("no token"))
		case how == "always", how == "once" && first:
			return errors.New("broken")
		case how == "panic" && first:
			panic("broken")
		}
		return untilDone(ctx)
	})
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()
	g.Notify = lifecycle.Systemd
	err := g.Run(ctx)
	ledger.End(err)
	os.Exit(lifecycle.ExitCode(err))
}

// begun notes that a run begins.
func begun() error {
	f, err := os.OpenFile(own("begun"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, time.Now().UnixMilli())
	return err
}

// wedge stops answering in its first run.
func wedge() {
	stuck := first()
	var g lifecycle.Group
	g.Go("watchdog", lifecycle.Watchdog(func(ctx context.Context) error {
		if stuck {
			<-ctx.Done()
		}
		return ctx.Err()
	}))
	g.Go("task", untilDone)
	run(&g)
}

// second runs once no other process holds the lock.
func second() {
	lock := &restart.Lock{Path: "/rw/lock"}
	g := lifecycle.Group{Start: lock.Acquire, Drain: drain.Plan{Phases: []drain.Phase{{Name: "lock", Steps: []drain.Step{{Name: "lock", Stop: lock.Release}}}}}}
	g.Go("task", untilDone)
	run(&g)
}
