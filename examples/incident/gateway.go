package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// gatewayAfter is the gateway on evenkeel. SIGTERM ends the session streams with
// a goodbye, and waits for the answers.
func (r role) gatewayAfter(log *slog.Logger) int {
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()

	g := lifecycle.Group{Logger: log}
	web := &drain.Server{HTTP: &http.Server{Addr: r.Addr, Handler: r.routes(log, g.Readyz)}}
	g.Drain = drain.Plan{Budget: r.scaled(drainBudget), Phases: []drain.Phase{
		{Name: "answers", Timeout: r.scaled(answersEnd), Steps: []drain.Step{web.Step()}},
		{Name: "tasks", Steps: []drain.Step{g.Step()}},
	}}
	g.Go("http", web.ListenAndServe)
	return lifecycle.ExitCode(g.Run(ctx))
}

// routes returns what the gateway serves. It is the same in both worlds.
func (r role) routes(log *slog.Logger, ready http.HandlerFunc) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", ready)
	mux.HandleFunc("/session", func(w http.ResponseWriter, req *http.Request) { session(log, w, req) })
	mux.HandleFunc("/answer", func(w http.ResponseWriter, req *http.Request) { r.answer(log, w, req) })
	return mux
}

// session is a stream without end. It says goodbye when the server stops.
func session(log *slog.Logger, w http.ResponseWriter, req *http.Request) {
	log = log.With("kind", "session", "session", req.FormValue("id"), "attempt", req.FormValue("attempt"))
	log.Info("response began")
	send(w, "hello")
	soft := drain.Stopping(req.Context())
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		select {
		case <-req.Context().Done():
			log.Info("client gone")
			return
		case <-soft.Done():
			send(w, "goodbye")
			log.Info("response ended")
			return
		case <-beat.C:
			send(w, "beat")
		}
	}
}

// answer streams one answer. It must not be cut.
func (r role) answer(log *slog.Logger, w http.ResponseWriter, req *http.Request) {
	log = log.With("kind", "answer", "session", req.FormValue("id"), "attempt", req.FormValue("attempt"))
	log.Info("response began")
	const words = 30
	pace := time.NewTicker(r.scaled(longestAnswer) / words)
	defer pace.Stop()
	for range words {
		send(w, "word")
		select {
		case <-req.Context().Done():
			log.Info("client gone")
			return
		case <-pace.C:
		}
	}
	send(w, "done")
	log.Info("response ended")
}

func send(w http.ResponseWriter, event string) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "event: %s\ndata:\n\n", event)
	http.NewResponseController(w).Flush()
}
