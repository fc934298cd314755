//lint:file-ignore SA1019 gin and echo still use h2c.NewHandler, and that is what is judged.

package judges

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

// h2c.NewHandler, which is in front of gin's UseH2C and echo's StartH2CServer too,
// hijacks each connection for as long as it lives: net/http sees one request,
// PRI *. Only http2.ConfigureServer lets it know of a shutdown.
func TestH2C(t *testing.T) {
	const budget = 4 * time.Second
	for _, tt := range []struct {
		name      string
		configure bool
	}{
		{"NewHandler", false},
		{"NewHandler and ConfigureServer", true},
	} {
		start := func(t *testing.T) (s *site, begun *atomic.Int64, get func(string) (answered bool)) {
			begun = new(atomic.Int64)
			mux := http.NewServeMux()
			mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
			mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
				begun.Add(1)
				io.WriteString(w, "one,")
				http.NewResponseController(w).Flush()
				time.Sleep(budget / 8)
				io.WriteString(w, "two")
			})
			s = &site{t: t, handler: mux, prepare: func(web *http.Server) {
				h2 := new(http2.Server)
				web.Handler = h2c.NewHandler(web.Handler, h2)
				if tt.configure {
					if err := http2.ConfigureServer(web, h2); err != nil {
						t.Error(err)
					}
				}
			}}
			s.start()
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(true)
			t.Cleanup(transport.CloseIdleConnections)
			client := &http.Client{Transport: transport}
			return s, begun, func(path string) bool {
				r, err := client.Get("http://" + s.addr + path)
				if err != nil {
					t.Logf("%s: %v", path, err)
					return false
				}
				defer r.Body.Close()
				b, err := io.ReadAll(r.Body)
				t.Logf("%s: %s %d, %q, %v", path, r.Proto, r.StatusCode, b, err)
				return err == nil && r.ProtoMajor == 2 && r.StatusCode == http.StatusOK && (path != "/slow" || strings.HasSuffix(string(b), "two"))
			}
		}

		// An idle connection neither holds up the stop nor is killed at its end.
		t.Run(tt.name+", idle", func(t *testing.T) {
			t.Parallel()
			s, _, get := start(t)
			if !get("/") {
				t.Fatal("no answer")
			}
			r, err := s.stop(budget)
			if err != nil || r.Took > budget/4 || len(s.gate.Cut()) > 0 {
				t.Errorf("the stop took %v, cut %q: %v", r.Took, s.gate.Cut(), err)
			}
		})

		// A request in flight is answered in full. One that comes during the drain is
		// refused before its handler runs, or is answered in full too.
		t.Run(tt.name+", in use", func(t *testing.T) {
			t.Parallel()
			s, begun, get := start(t)
			var answered atomic.Int64
			var all sync.WaitGroup
			slow := func() {
				if get("/slow") {
					answered.Add(1)
				}
			}
			all.Go(slow)
			eventually(t, "the request is in flight", func() bool { return begun.Load() > 0 })
			all.Go(func() {
				time.Sleep(budget / 20)
				slow()
			})
			r, err := s.stop(budget)
			all.Wait()
			if n := begun.Load(); answered.Load() != n {
				t.Errorf("%d requests begun, %d answered in full", n, answered.Load())
			}
			if err != nil || r.Took > budget/2 || len(s.gate.Cut()) > 0 {
				t.Errorf("the stop took %v, cut %q: %v", r.Took, s.gate.Cut(), err)
			}
		})
	}
}
