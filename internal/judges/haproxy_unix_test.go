//go:build unix

package judges

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

const (
	checked = 100 * ms    // between two checks of a server
	noticed = 3 * checked // by which it is out of use
	rate    = 500         // requests in a second
)

// Connections to the servers are kept and shared by all clients, and nothing is
// tried twice, so that each request that a server turns away is seen. Three
// failures take a server out and two successes bring it back, as by default,
// but at twenty times the pace: a check that comes late on a busy machine should
// not do that.
const config = `
defaults
	mode http
	timeout connect 2s
	timeout client 20s
	timeout server 20s
	timeout check 2s
	retries 0
	no option redispatch
	http-reuse always
	option httpchk GET /readyz
	default-server check inter %dms fall 3 rise 2
frontend web
	bind fd@3
	default_backend service
backend service
	balance roundrobin
	server a %s
	server b %s
`

// balanced returns the address of a haproxy before the two sites.
func balanced(t *testing.T, sites [2]*site) string {
	path := installed(t, "haproxy")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, checked.Milliseconds(), sites[0].addr, sites[1].addr), 0o600); err != nil {
		t.Fatal(err)
	}
	launch(t, []*os.File{f}, path, "-db", "-f", file)
	return l.Addr().String()
}

// Two servers behind haproxy are restarted in turn, under load. Where they settle
// for longer than haproxy takes to notice, no request fails.
func TestRollingRestart(t *testing.T) {
	const budget = 5 * time.Second
	for _, tt := range []struct {
		name   string
		settle time.Duration
		rounds int
		fails  bool
	}{
		{"settling", noticed + checked, 10, false},
		{"not settling", 0, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var served [2]atomic.Int64
			var sites [2]*site
			for i := range sites {
				sites[i] = &site{t: t, settle: tt.settle, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					time.Sleep(rand.N(10 * ms))
					served[i].Add(1)
				})}
				sites[i].start()
			}
			addr := balanced(t, sites)
			sent, failed, stop := load(t, "http://"+addr+"/")
			inUse := func(i int) {
				before := served[i].Load()
				eventually(t, "the balancer uses the server", func() bool { return served[i].Load() > before+10 })
			}
			inUse(0)
			inUse(1)
			var slowest time.Duration
			for range tt.rounds {
				for i, s := range sites {
					r, err := s.stop(budget)
					if err != nil || r.Took > budget || r.Results[0].Outcome != drain.OK {
						t.Errorf("the stop took %v: %v", r.Took, err)
					}
					slowest = max(slowest, r.Took)
					time.Sleep(200 * ms) // as a process takes a while to start
					s.start()
					inUse(i)
				}
			}
			stop()
			t.Logf("%d restarts, the slowest stop took %v; %d requests, %d failed", 2*tt.rounds, slowest, sent.Load(), failed.Load())
			if (failed.Load() > 0) != tt.fails {
				t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
			}
		})
	}
}

// load sends POSTs, which no client repeats by itself, at the rate, on ten
// connections that are kept.
func load(t *testing.T, url string) (sent, failed *atomic.Int64, stop func()) {
	const workers = 10
	sent, failed = new(atomic.Int64), new(atomic.Int64)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}, Timeout: 10 * time.Second}
	end := make(chan struct{})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			tick := time.NewTicker(workers * time.Second / rate)
			defer tick.Stop()
			for {
				select {
				case <-end:
					return
				case <-tick.C:
				}
				sent.Add(1)
				r, err := client.Post(url, "text/plain", strings.NewReader("x"))
				if err == nil {
					io.Copy(io.Discard, r.Body)
					r.Body.Close()
				}
				if err != nil || r.StatusCode != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		close(end)
		wg.Wait()
		client.CloseIdleConnections()
	})
	t.Cleanup(stop)
	return sent, failed, stop
}
