package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

// gatewayAfter is the gateway on evenkeel. SIGTERM ends the session streams with
// a goodbye, and waits for the answers.
func (r role) gatewayAfter(log *slog.Logger) int {
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()

	// How long a session is suspected does not scale: it must outlast the replay.
	ledger := restart.Ledger{Path: filepath.Join(r.Dir, "ledger"), Policy: restart.Policy{Min: r.scaled(restartMin), Max: r.scaled(restartMax), Logger: log}}
	box := ledger.Box()
	g := lifecycle.Group{Logger: log, Start: ledger.Begin}
	requests := drain.Gate{Recorder: box}
	web := &drain.Server{
		HTTP:    &http.Server{Addr: r.Addr, Handler: refuse(box.Suspect, r.routes(log, g.Readyz))},
		Gate:    &requests,
		Session: sessionOf,
	}
	g.Drain = drain.Plan{Budget: r.scaled(drainBudget), Phases: []drain.Phase{
		{Name: "answers", Timeout: r.scaled(answersEnd), Steps: []drain.Step{web.Step()}},
		{Name: "tasks", Steps: []drain.Step{g.Step()}},
	}}
	g.Go("http", web.ListenAndServe)
	err := g.Run(ctx)
	ledger.End(err, requests.Cut()...)
	return lifecycle.ExitCode(err)
}

func sessionOf(req *http.Request) string { return req.URL.Query().Get("id") }

// refuse refuses the sessions that were in flight each time the gateway died.
func refuse(suspect func(session string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if suspect(sessionOf(req)) {
			w.Header().Set("Retry-After", "600") // restart.Policy.Stable
			http.Error(w, "this session was in flight at the last crashes", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// routes returns what the gateway serves. It is the same in both worlds.
func (r role) routes(log *slog.Logger, ready http.HandlerFunc) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", ready)
	mux.HandleFunc("/session", func(w http.ResponseWriter, req *http.Request) {
		if r.Poison != "" && sessionOf(req) == r.Poison {
			die()
		}
		session(log, w, req)
	})
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

// die ends the process as a crash in C code or the kernel's OOM killer does.
func die() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		p.Kill()
	}
	select {} // until the signal has arrived
}

func send(w http.ResponseWriter, event string) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "event: %s\ndata:\n\n", event)
	http.NewResponseController(w).Flush()
}
