// Package explore stops a drain.Server at the time of each event of its network. A first
// run without a stop finds these times; then there is a run for each. All of it happens
// in synctest bubbles over a network in memory, so a thousand stops take about a second.
// The course of a run is repeatable in time, but not in the order of goroutines.
package explore

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A Scenario is a server and its clients.
type Scenario struct {
	// Server returns the server to stop, with its handler. It is called in each run's
	// bubble, and may use t.Cleanup.
	Server func(t *testing.T) *drain.Server

	// Clients run side by side, each with its own latency. They return once Over
	// is closed.
	Clients []func(*Client)

	Length time.Duration // of a run without a stop
	Budget time.Duration // of the drain
	Within time.Duration // how long the drain may take, since no client needs longer
	Deaf   bool          // a handler never returns in time, so the drain may cut requests
}

// Explore runs s without a stop, then once for each event, and fails t for each promise
// that a run breaks. It returns the number of stops. Of every so many times one is tried.
func Explore(t *testing.T, s Scenario, every int) int {
	events, _ := s.run(t, s.Length)
	times := slices.Sorted(maps.Keys(events))
	stops := 0
	for i, at := range times {
		if i%every != 0 || at > s.Length {
			continue
		}
		for _, at := range []time.Duration{at - 1, at, at + 1} { // before, among, and after what happens then
			if at <= 0 {
				continue // it does not serve yet
			}
			stops++
			if s.run(t, at); t.Failed() {
				return stops
			}
		}
	}
	return stops
}

// A run is one life of a server.
type run struct {
	t    *testing.T
	net  *network
	over chan struct{} // closed when the drain has ended
	at   time.Duration
	deaf bool

	mu       sync.Mutex
	stopping bool
	next     int
	begun    map[string]bool // the requests that the handler got
}

// run stops at a time, and returns when something happened and how the drain went.
func (s Scenario) run(t *testing.T, at time.Duration) (events map[time.Duration]bool, report drain.Report) {
	synctest.Test(t, func(t *testing.T) {
		r := &run{t: t, net: newNetwork(), over: make(chan struct{}), at: at, deaf: s.Deaf, begun: map[string]bool{}}
		web := s.Server(t)
		handler := web.HTTP.Handler
		web.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r.mu.Lock()
			r.begun[req.Header.Get("Id")] = true
			stopping := r.stopping
			r.mu.Unlock()
			if stopping && req.URL.Path == "/readyz" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			handler.ServeHTTP(w, req)
		})
		served := make(chan error, 1)
		go func() { served <- web.Serve(context.Background(), r.net) }()
		var clients sync.WaitGroup
		for i, client := range s.Clients {
			clients.Go(func() { r.client(i, client) })
		}
		time.Sleep(at)
		r.mu.Lock()
		r.stopping = true
		r.mu.Unlock()
		plan := drain.Plan{Budget: s.Budget, Phases: []drain.Phase{{Name: "requests", Steps: []drain.Step{web.Step()}}}}
		var err error
		report, err = plan.Run(context.Background())
		if err != nil && !s.Deaf {
			r.broken("the drain failed: %v\n%v", err, report)
		}
		if report.Took > s.Within {
			r.broken("the drain took %v, more than %v", report.Took, s.Within)
		}
		if n := r.net.left(); n > 0 {
			r.broken("the server left %d connections open", n)
		}
		if err := <-served; err != nil {
			r.broken("Serve returned %v", err)
		}
		close(r.over)
		clients.Wait()
		events = r.net.events
	})
	return events, report
}

func (r *run) broken(format string, args ...any) {
	r.t.Errorf("stop at %v: %s", r.at, fmt.Sprintf(format, args...))
}

// id returns a new request's name.
func (r *run) id() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	return strconv.Itoa(r.next)
}

// admitted reports whether the handler got the request, whether the stop has begun, and
// whether the drain may have cut the request.
func (r *run) admitted(id string) (admitted, stopping, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun[id], r.stopping, r.deaf && r.stopping
}
