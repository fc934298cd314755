package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/evenkeel-go/evenkeel/drain"
)

func (s *store) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /messages", s.post)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /socket", s.socket)
	return mux
}

func session(r *http.Request) string { return r.URL.Query().Get("session") }

// refuse refuses the sessions that were in flight each time the process died.
func refuse(suspect func(session string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if suspect(session(r)) {
			w.Header().Set("Retry-After", "600") // restart.Policy.Stable
			http.Error(w, "this session was in flight at the last crashes", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *store) post(w http.ResponseWriter, r *http.Request) {
	id, err := s.add(r.Context(), r.FormValue("text"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintln(w, id)
}

// follow calls send with each message after an id, until send fails, the client
// leaves, or the server stops. In the last case it returns nil.
func (s *store) follow(ctx context.Context, id int64, send func(message) error) error {
	stopping := drain.Stopping(ctx)
	for {
		found, more, err := s.after(ctx, id)
		if err != nil {
			return err
		}
		for _, m := range found {
			if err := send(m); err != nil {
				return err
			}
			id = m.ID
		}
		if len(found) > 0 {
			continue // there may be more
		}
		select {
		case <-more:
		case <-stopping.Done():
			return ctx.Err()
		}
	}
}

// events is a stream of server-sent events. The client reconnects by itself, and
// sends the id of the last event that it saw.
func (s *store) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	fmt.Fprint(w, "retry: 1000\n\n")
	rc.Flush()
	last, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	s.follow(r.Context(), last, func(m message) error {
		fmt.Fprintf(w, "id: %d\ndata: %s\n\n", m.ID, strconv.Quote(m.Text))
		return rc.Flush()
	})
}

// socket sends the same messages through a WebSocket. At the stop it closes with
// 1012, service restart.
func (s *store) socket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has answered
	}
	defer c.CloseNow()
	last, _ := strconv.ParseInt(r.FormValue("after"), 10, 64)
	ctx := c.CloseRead(r.Context()) // ends when the client leaves
	if err := s.follow(ctx, last, func(m message) error { return wsjson.Write(ctx, c, m) }); err == nil {
		c.Close(websocket.StatusServiceRestart, "restart")
	}
}
