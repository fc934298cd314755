package judges

import (
	"context"
	"flag"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

const ms = time.Millisecond

func TestMain(m *testing.M) {
	proctest.Main(map[string]func(){"backend": backend})
	flag.Parse()
	flag.Set("test.parallel", "8") // else TestRolling's services would not run side by side on two processors
	goleak.VerifyTestMain(m)
}

// A site is a service that is stopped and started again at the same address.
type site struct {
	t       *testing.T
	addr    string
	handler http.Handler
	settle  time.Duration
	prepare func(*drain.Server) // may be nil
	ready   atomic.Bool
	gate    *drain.Gate // of the latest start
	web     *drain.Server
	served  chan error
}

// start runs the site for the first time, or again.
func (s *site) start() {
	s.t.Helper()
	again := s.addr != ""
	if !again {
		s.addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	mux := http.NewServeMux()
	mux.Handle("/", s.handler)
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	s.gate = new(drain.Gate)
	s.web = &drain.Server{HTTP: &http.Server{Handler: mux}, Settle: s.settle, Gate: s.gate}
	if s.prepare != nil {
		s.prepare(s.web)
	}
	s.served = make(chan error, 1)
	go func(web *drain.Server, served chan<- error) { served <- web.Serve(context.Background(), l) }(s.web, s.served)
	s.ready.Store(true)
	if !again {
		s.t.Cleanup(func() {
			s.web.Step().Kill()
			if err := <-s.served; err != nil {
				s.t.Errorf("Serve: %v", err)
			}
			s.served <- nil
		})
	}
}

// stop runs a plan of the site's step alone.
func (s *site) stop(budget time.Duration) (drain.Report, error) {
	s.ready.Store(false)
	p := drain.Plan{Budget: budget, Phases: []drain.Phase{{Name: "requests", Steps: []drain.Step{s.web.Step()}}}}
	return p.Run(context.Background())
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for begin := time.Now(); !cond(); time.Sleep(5 * ms) {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("not after 30 s: %s", what)
		}
	}
}
