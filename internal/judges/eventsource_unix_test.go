//go:build unix

package judges

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// page reports to its own server, in order, what its EventSource saw from another one.
const page = `<!doctype html><script>
let last = Promise.resolve()
const tell = what => last = last.then(() => fetch("/" + what, {method: "POST"}))
const source = new EventSource("http://%s/events")
source.onmessage = e => tell("saw?id=" + e.lastEventId)
source.onerror = () => { if (source.readyState == EventSource.CLOSED) tell("lost") }
</script>`

// A feed is a stream of numbered events, and a page in a browser that watches it.
type feed struct {
	site
	retry func(stopping time.Time) time.Duration

	mu   sync.Mutex
	sent []int       // by all streams together
	saw  []int       // by the page
	lost atomic.Bool // the page gave up
}

func (f *feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/slow" {
		time.Sleep(time.Second)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	rc := http.NewResponseController(w)
	id, _ := strconv.Atoi(r.Header.Get("Last-Event-ID"))
	stopping := drain.Stopping(r.Context())
	tick := time.NewTicker(10 * ms)
	defer tick.Stop()
	for {
		select {
		case <-stopping.Done():
			end, _ := stopping.Deadline()
			fmt.Fprintf(w, "retry: %d\n\n", f.retry(end).Milliseconds())
			return
		case <-tick.C:
		}
		id++
		fmt.Fprintf(w, "id: %d\ndata: x\n\n", id)
		if rc.Flush() != nil {
			return
		}
		f.mu.Lock()
		f.sent = append(f.sent, id)
		f.mu.Unlock()
	}
}

// watch opens the page in a browser, and returns when it sees events.
func (f *feed) watch(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, page, f.addr)
	})
	mux.HandleFunc("POST /saw", func(_ http.ResponseWriter, r *http.Request) {
		id, _ := strconv.Atoi(r.FormValue("id"))
		f.mu.Lock()
		defer f.mu.Unlock()
		f.saw = append(f.saw, id)
	})
	mux.HandleFunc("POST /lost", func(http.ResponseWriter, *http.Request) { f.lost.Store(true) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	launch(t, nil, installed(t, "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(), s.URL)
	f.sees(t)
}

// sees waits until the page saw events that were sent from now on.
func (f *feed) sees(t *testing.T) {
	t.Helper()
	count := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.saw)
	}
	before := count()
	eventually(t, "the page sees events", func() bool { return count() > before+20 })
}

// A browser comes back after restarts, with the id of the last event that it saw.
// The stop ends because its stream says goodbye.
func TestEventSource(t *testing.T) {
	const budget = 4 * time.Second
	soon := func(time.Time) time.Duration { return 50 * ms }
	for _, tt := range []struct {
		name  string
		retry func(time.Time) time.Duration
		slow  bool // another request prolongs the drain
	}{
		{"comes back soon", soon, false},
		{"comes back during the drain", soon, true}, // no connection, so it tries again; after a 503 it would not
		{"told to come after the drain", time.Until, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &feed{retry: tt.retry}
			f.site = site{t: t, handler: f}
			f.start()
			f.watch(t)
			var wg sync.WaitGroup
			defer wg.Wait()
			for range 2 {
				if tt.slow {
					wg.Go(func() {
						if r, err := http.Get("http://" + f.addr + "/slow"); err != nil {
							t.Error(err)
						} else {
							r.Body.Close()
						}
					})
					time.Sleep(100 * ms) // it is within
				}
				r, err := f.stop(budget)
				if err != nil || r.Results[0].Outcome != drain.OK || r.Took > budget/2 || !tt.slow && r.Took > budget/8 {
					t.Errorf("the stop took %v: %v", r.Took, err)
				}
				time.Sleep(300 * ms) // as a process takes a while to start
				f.start()
				f.sees(t)
			}
			if _, err := f.stop(budget); err != nil {
				t.Error(err)
			}
			eventually(t, "the page saw all", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return len(f.saw) >= len(f.sent)
			})
			for i := range f.sent {
				if f.sent[i] != i+1 {
					t.Fatalf("event %d was sent as number %d", f.sent[i], i+1)
				}
			}
			if !slices.Equal(f.saw, f.sent) || f.lost.Load() {
				t.Errorf("%d were sent; the page saw %v and gave up: %v", len(f.sent), f.saw, f.lost.Load())
			}
			t.Logf("%d events, each seen once", len(f.saw))
		})
	}
}
