// Gateway takes messages and sends them to its listeners, by server-sent events or a
// WebSocket, through a table that outlives it:
//
//	go -C examples/gateway run . -state /tmp/gateway
//	curl -d 'text=hello' localhost:8080/messages
//	curl localhost:8080/events
//
// At a SIGTERM every listener gets a goodbye, reconnects, and gets what it missed. If the
// process keeps dying, the session that was in flight each time is refused for a while.
// Probes, metrics and profiles use a second port, which closes last:
//
//	curl localhost:8081/readyz
package main

import (
	"context"
	"expvar"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "listen on `HOST:PORT`")
	admin := flag.String("admin", "127.0.0.1:8081", "listen on `HOST:PORT` for probes, metrics and profiles")
	state := flag.String("state", ".", "`directory` of the database and the ledger")
	settle := flag.Duration("settle", 3*time.Second, "the interval at which a load balancer asks for /readyz, times its failure threshold and one")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("pid", os.Getpid())
	slog.SetDefault(log) // for ExitCode
	os.Exit(lifecycle.ExitCode(run(*addr, *admin, *state, *settle, log)))
}

func run(addr, admin, state string, settle time.Duration, log *slog.Logger) error {
	ctx, stop := lifecycle.WithSignals(context.Background()) // first signal drains, second forces, third kills
	defer stop()

	ledger := restart.Ledger{Path: filepath.Join(state, "ledger"), Policy: restart.Policy{Logger: log}}
	box := ledger.Box() // who is in flight, in case the process dies
	var messages store
	var listener net.Listener
	g := lifecycle.Group{Logger: log, Notify: lifecycle.Systemd}
	g.Start = func(ctx context.Context) error {
		if err := ledger.Begin(ctx); err != nil { // waits if this process keeps failing
			return err
		}
		if err := messages.open(ctx, filepath.Join(state, "messages.db")); err != nil {
			return err
		}
		var err error
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp", addr) // before /readyz says yes
		return err
	}

	requests := drain.Gate{Recorder: box}
	web := &drain.Server{
		HTTP:    &http.Server{Handler: refuse(box.Suspect, messages.handler()), ReadHeaderTimeout: 10 * time.Second},
		Settle:  settle,
		Gate:    &requests,
		Session: session,
	}

	private := http.NewServeMux()
	private.HandleFunc("GET /readyz", g.Readyz)
	private.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	private.Handle("GET /debug/vars", expvar.Handler())
	private.HandleFunc("GET /debug/pprof/", pprof.Index)
	ops := &drain.Server{HTTP: &http.Server{Addr: admin, Handler: private, ReadHeaderTimeout: 10 * time.Second}}

	g.Drain = drain.Plan{Budget: 25 * time.Second, Phases: []drain.Phase{
		{Name: "requests", Timeout: 20 * time.Second, Steps: []drain.Step{web.Step()}},
		{Name: "tasks", Reserve: time.Second, Steps: []drain.Step{g.Step()}},
		{Name: "database", Reserve: time.Second, Steps: []drain.Step{drain.Close("messages", &messages)}},
		{Name: "admin", Reserve: time.Second, Steps: []drain.Step{ops.Step()}},
	}}
	g.Go("http", func(ctx context.Context) error { return web.Serve(ctx, listener) })
	g.Go("admin", ops.ListenAndServe)
	g.Go("prune", restart.Policy{Logger: log}.Wrap(messages.prune))
	g.Go("watchdog", lifecycle.Watchdog(messages.alive))

	err := g.Run(ctx)
	ledger.End(err, requests.Cut()...)
	return err
}
