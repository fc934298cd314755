//lint:file-ignore SA1019 gin and echo still use h2c.NewHandler, and that is what is judged.

package judges

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"

	"github.com/evenkeel-go/evenkeel/drain"
)

// h2c.NewHandler, which is also in front of gin's UseH2C and echo's StartH2CServer,
// hijacks each connection for as long as it lives: net/http sees one request,
// PRI *. Only http2.ConfigureServer passes on a shutdown, as GOAWAY. Requests are
// counted if Server.Handler is inside.
func TestH2C(t *testing.T) {
	const budget = 4 * time.Second
	for _, tt := range []struct {
		name              string
		configure, inside bool
	}{
		{"NewHandler", false, false},
		{"ConfigureServer", true, false},
		{"Server.Handler inside", false, true},
		{"ConfigureServer, Server.Handler inside", true, true},
	} {
		start := func(t *testing.T) (s *site, begun, ended *atomic.Int64, get func(string) error) {
			begun, ended = new(atomic.Int64), new(atomic.Int64)
			mux := http.NewServeMux()
			mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
			mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
				begun.Add(1)
				defer ended.Add(1)
				io.WriteString(w, "one,")
				http.NewResponseController(w).Flush()
				time.Sleep(budget / 8)
				io.WriteString(w, "two")
			})
			s = &site{t: t, handler: mux, prepare: func(web *drain.Server) {
				h2 := new(http2.Server)
				inner := web.HTTP.Handler
				if tt.inside {
					inner = web.Handler(inner)
				}
				web.HTTP.Handler = h2c.NewHandler(inner, h2)
				if tt.configure {
					if err := http2.ConfigureServer(web.HTTP, h2); err != nil {
						t.Error(err)
					}
				}
			}}
			s.start()
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(true)
			t.Cleanup(transport.CloseIdleConnections)
			client := &http.Client{Transport: transport}
			return s, begun, ended, func(path string) error {
				r, err := client.Get("http://" + s.addr + path)
				if err != nil {
					return err
				}
				defer r.Body.Close()
				b, err := io.ReadAll(r.Body)
				if err != nil || r.ProtoMajor != 2 || r.StatusCode != http.StatusOK || path == "/slow" && string(b) != "one,two" {
					return fmt.Errorf("%s %s, %q: %v", r.Proto, r.Status, b, err)
				}
				return nil
			}
		}

		// An idle connection neither holds up the stop nor is killed at its end.
		t.Run(tt.name+", idle", func(t *testing.T) {
			t.Parallel()
			s, _, _, get := start(t)
			if err := get("/"); err != nil {
				t.Fatal(err)
			}
			r, err := s.stop(budget)
			if err != nil || r.Took > budget/4 || len(s.gate.Cut()) > 0 {
				t.Errorf("the stop took %v, cut %q: %v", r.Took, s.gate.Cut(), err)
			}
		})
		if !tt.inside {
			continue // the server does not wait for its requests, as it says
		}

		// A request in flight is answered in full before the stop is over. One that comes
		// during the drain is refused before its handler runs, or answered in full too.
		t.Run(tt.name+", in use", func(t *testing.T) {
			t.Parallel()
			s, begun, ended, get := start(t)
			var answered atomic.Int64
			var all sync.WaitGroup
			slow := func() {
				err := get("/slow")
				if err == nil {
					answered.Add(1)
				}
				t.Logf("a slow request: %v", err)
			}
			all.Go(slow)
			eventually(t, "the request is in flight", func() bool { return begun.Load() > 0 })
			all.Go(func() {
				time.Sleep(budget / 20)
				slow()
			})
			r, err := s.stop(budget)
			if b, e := begun.Load(), ended.Load(); e != b {
				t.Errorf("the stop was over with %d of %d requests within", b-e, b)
			}
			all.Wait()
			if b, a := begun.Load(), answered.Load(); a != b {
				t.Errorf("%d requests begun, %d answered in full", b, a)
			}
			if err != nil || r.Took > budget/2 || len(s.gate.Cut()) > 0 {
				t.Errorf("the stop took %v, cut %q: %v", r.Took, s.gate.Cut(), err)
			}
		})
	}
}
