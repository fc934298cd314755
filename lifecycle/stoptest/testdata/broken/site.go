//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A site is what clients see.
type site struct {
	ready    http.HandlerFunc
	goodbye  string          // the last event of a stream
	stopping <-chan struct{} // closed when streams should end
	jobs     io.Writer       // has all jobs that were accepted
}

func (s *site) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { s.ready(w, r) })
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("POST /files", s.upload)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /socket", s.socket)
	mux.HandleFunc("POST /jobs", s.job)
	return mux
}

// page sends its head first and needs a while for the rest.
func (s *site) page(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).Flush()
	select {
	case <-time.After(300 * time.Millisecond):
		fmt.Fprintln(w, "hello")
	case <-r.Context().Done():
	}
}

func (s *site) upload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintln(w, n)
}

// tick is how often a stream has news. It sees the stop then, and not before.
const tick = 100 * time.Millisecond

func (s *site) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for !s.over() && r.Context().Err() == nil {
		fmt.Fprint(w, "data: news\n\n")
		http.NewResponseController(w).Flush()
		time.Sleep(tick)
	}
	fmt.Fprint(w, s.goodbye)
}

// socket is a protocol of its own on the connection of the request: a line each tick.
func (s *site) socket(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_, err = fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
	for !s.over() && err == nil {
		_, err = fmt.Fprintln(conn, "news")
		time.Sleep(tick)
	}
	fmt.Fprintln(conn, "goodbye")
}

func (s *site) over() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// job accepts a line for later.
func (s *site) job(w http.ResponseWriter, r *http.Request) {
	name, err := bufio.NewReader(r.Body).ReadString('\n')
	if err == nil {
		_, err = io.WriteString(s.jobs, name)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
