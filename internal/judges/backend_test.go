package judges

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

const (
	backendEnv = "EVENKEEL_BACKEND"
	long       = 5 * time.Second // a request that is in flight at each stop
	budget     = 25 * time.Second
)

// backend runs a backend. The environment variable says which program, its address, and
// how long it settles.
func backend() {
	words := strings.Fields(os.Getenv(backendEnv))
	addr := words[1]
	settle, err := time.ParseDuration(words[2])
	if err != nil {
		panic(err)
	}
	var within atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(rand.N(10 * ms))
		w.Header().Set("Backend", addr)
		io.WriteString(w, "ok")
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		within.Add(1)
		defer within.Add(-1)
		time.Sleep(long)
		io.WriteString(w, "ok")
	})
	mux.HandleFunc("/within", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, within.Load()) })
	if words[0] == "bare" {
		if err := bare(addr, mux); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(even(addr, settle, mux))
}

// bare stops in the way that most programs do by hand.
func bare(addr string, mux *http.ServeMux) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	web := &http.Server{Addr: addr, Handler: mux}
	failed := make(chan error, 1)
	go func() { failed <- web.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), budget)
	defer cancel()
	err := web.Shutdown(ctx)
	return errors.Join(err, context.Cause(ctx))
}

// even is the README's program, without a database and jobs.
func even(addr string, settle time.Duration, mux *http.ServeMux) (status int) {
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()
	var g lifecycle.Group
	mux.HandleFunc("/readyz", g.Readyz)
	web := &drain.Server{HTTP: &http.Server{Addr: addr, Handler: mux}, Settle: settle}
	g.Drain = drain.Plan{Budget: budget, Phases: []drain.Phase{
		{Name: "requests", Timeout: 15 * time.Second, Steps: []drain.Step{web.Step()}},
		{Name: "tasks", Reserve: time.Second, Steps: []drain.Step{g.Step()}},
	}}
	g.Go("http", web.ListenAndServe)
	return lifecycle.ExitCode(g.Run(ctx))
}
