package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// An api is the getUpdates part of the bot API. A poll is open until it is answered,
// even if its client is gone. A second poll meanwhile is a conflict.
type api struct {
	mu        sync.Mutex
	changed   chan struct{} // closed at a new update
	updates   []update      // not confirmed
	last      int
	open      bool
	conflicts int
	patience  int           // how many requests were refused with a wait
	calm      bool          // no request is refused with a wait
	given     chan struct{} // has a token once a client has got updates
}

func newAPI() *api { return &api{changed: make(chan struct{}), given: make(chan struct{}, 1)} }

func (a *api) add() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	a.updates = append(a.updates, update{a.last})
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *api) waiting() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.updates)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	offset, _ := strconv.Atoi(r.FormValue("offset"))
	timeout, _ := strconv.Atoi(r.FormValue("timeout"))
	status, answer := a.getUpdates(offset, time.Duration(timeout)*time.Second)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}

func (a *api) getUpdates(offset int, timeout time.Duration) (int, map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open {
		a.conflicts++
		return http.StatusConflict, map[string]any{"ok": false, "error_code": 409,
			"description": "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"}
	}
	if !a.calm && rand.N(100) == 0 {
		a.patience++
		return http.StatusTooManyRequests, map[string]any{"ok": false, "error_code": 429,
			"description": "Too Many Requests: retry after 1", "parameters": map[string]int{"retry_after": 1}}
	}
	for len(a.updates) > 0 && a.updates[0].ID < offset {
		a.updates = a.updates[1:]
	}
	if len(a.updates) == 0 && timeout > 0 {
		a.open = true
		late := time.After(timeout)
		for over := false; len(a.updates) == 0 && !over; {
			changed := a.changed
			a.mu.Unlock()
			select {
			case <-changed:
			case <-late:
				over = true
			}
			a.mu.Lock()
		}
		a.open = false
	}
	if len(a.updates) > 0 && len(a.given) == 0 {
		a.given <- struct{}{}
	}
	return http.StatusOK, map[string]any{"ok": true, "result": append([]update{}, a.updates[:min(len(a.updates), 100)]...)}
}

// flaky returns the address of a proxy that forwards to another address. It refuses
// some connections, delays some, and cuts some before the answer is through. It does
// not forward a client's disconnect.
func flaky(t *testing.T, to string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { forward(in, to, rand.N(40)) })
		}
	})
	return l.Addr().String()
}

func forward(in net.Conn, to string, luck int) {
	defer in.Close()
	if luck == 0 {
		in.(*net.TCPConn).SetLinger(0)
		return
	}
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	request := make([]byte, 4096)
	n, err := in.Read(request)
	if err != nil {
		return
	}
	if luck < 5 {
		time.Sleep(rand.N(200 * time.Millisecond))
	}
	out.Write(request[:n])
	answer, _ := io.ReadAll(out) // in full, as the client asked for the connection's close
	if luck == 1 {
		answer = answer[:rand.N(len(answer)+1)]
	}
	in.Write(answer)
}
