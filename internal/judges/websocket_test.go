package judges

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/evenkeel-go/evenkeel/drain"
)

// echo sends back what it gets. A Read whose context ends breaks the connection, so echo
// reads with the request's context, and another goroutine says goodbye.
func echo(goodbye bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		if goodbye {
			said := make(chan struct{})
			unless := context.AfterFunc(drain.Stopping(r.Context()), func() {
				defer close(said)
				c.Close(websocket.StatusServiceRestart, "restarting")
			})
			defer func() {
				if !unless() {
					<-said
				}
			}()
		}
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, b); err != nil {
				return
			}
		}
	}
}

// A WebSocket whose handler watches Stopping gets its close code. Another one is closed
// at Kill, and named. An upgrade also works while the server settles.
func TestWebSocket(t *testing.T) {
	const budget = 2 * time.Second
	for _, tt := range []struct {
		name    string
		goodbye bool
		code    websocket.StatusCode // -1: none
	}{
		{"says goodbye", true, websocket.StatusServiceRestart},
		{"does not listen", false, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &site{t: t, handler: echo(tt.goodbye), settle: 200 * ms}
			s.start()
			talk := func() *websocket.Conn {
				c, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/chat", nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
					t.Error(err)
				}
				if _, b, err := c.Read(t.Context()); err != nil || string(b) != "hello" {
					t.Errorf("echo: %q, %v", b, err)
				}
				return c
			}
			clients := []*websocket.Conn{talk()}
			type end struct {
				drain.Report
				err error
			}
			done := make(chan end, 1)
			begin := time.Now()
			go func() {
				r, err := s.stop(budget)
				done <- end{r, err}
			}()
			time.Sleep(50 * ms)
			clients = append(clients, talk())
			for _, c := range clients {
				_, _, err := c.Read(t.Context())
				if got := websocket.CloseStatus(err); got != tt.code || !tt.goodbye && time.Since(begin) < budget*9/10 {
					t.Errorf("close code %d after %v: %v", got, time.Since(begin), err)
				}
				c.CloseNow()
			}
			got := <-done
			if tt.goodbye {
				if got.err != nil || got.Took > budget/2 {
					t.Errorf("took %v: %v", got.Took, got.err)
				}
				return
			}
			if got.Took > budget+100*ms || !errors.Is(got.err, context.DeadlineExceeded) || strings.Count(got.err.Error(), "GET /chat ") != 2 {
				t.Errorf("took %v: %v", got.Took, got.err)
			}
			if cut := s.gate.Cut(); !slices.Equal(cut, []string{"GET /chat", "GET /chat"}) {
				t.Errorf("Cut: %q", cut)
			}
		})
	}
}
