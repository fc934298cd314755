package explore

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/drain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

var every = flag.Int("every", 10, "stop at every n-th event")

// kinds are the kinds of clients.
var kinds = map[string]func(*Client){
	"silent": (*Client).Silent,
	"quick":  func(c *Client) { c.Every(31*time.Millisecond, func() { c.Get("/quick", "bye") }) },
	"fresh":  func(c *Client) { c.Fresh(); c.Every(37*time.Millisecond, func() { c.Get("/quick", "bye") }) },
	"slow":   func(c *Client) { c.Every(7*time.Millisecond, func() { c.Get("/slow", "bye") }) },
	"events": func(c *Client) { c.Every(time.Millisecond, func() { c.Get("/events", "bye") }) },
	"upload": func(c *Client) { c.Every(13*time.Millisecond, func() { c.Do("POST", "/upload", pieces(), "5") }) },
	"upgrade": func(c *Client) {
		c.Every(19*time.Millisecond, func() { c.Upgrade("/lines", "bye", 23*time.Millisecond) })
	},
	"later": func(c *Client) {
		c.Every(19*time.Millisecond, func() { c.Upgrade("/later", "bye", 23*time.Millisecond) })
	},
}

// No stop of a Server, at whatever moment, loses a request that it admitted. Each two
// kinds of clients are tried together.
func TestServer(t *testing.T) {
	begin, stops := time.Now(), 0
	for _, settle := range []time.Duration{0, 40 * time.Millisecond} {
		for _, second := range []bool{false, true} { // HTTP/2
			for a, one := range kinds {
				for b, other := range kinds {
					if a > b || second && slices.ContainsFunc([]string{"silent", "upgrade", "later"}, func(k string) bool { return k == a || k == b }) {
						continue
					}
					t.Run(fmt.Sprint(a, "+", b, "+", settle, "+", second), func(t *testing.T) {
						stops += Explore(t, Scenario{
							Server: func(*testing.T) *drain.Server { return server(settle) },
							Clients: []func(*Client){one, func(c *Client) {
								if second {
									c.HTTP2()
								}
								other(c)
							}},
							Length: 150 * time.Millisecond, Budget: 5 * time.Second, Within: 2 * time.Second,
						}, *every)
					})
				}
			}
		}
	}
	t.Logf("%d stops in %v", stops, time.Since(begin))
}

// A balancer that asks for readiness more often than Settle says has no request refused.
func TestSettle(t *testing.T) {
	Explore(t, Scenario{
		Server: func(*testing.T) *drain.Server { return server(40 * time.Millisecond) },
		Clients: []func(*Client){
			func(c *Client) {
				c.Balanced(20*time.Millisecond, 7*time.Millisecond, func() { c.Get("/quick", "bye") })
			},
			kinds["slow"],
		},
		Length: 150 * time.Millisecond, Budget: 5 * time.Second, Within: 2 * time.Second,
	}, *every)
}

// How long the stop takes, to the millisecond.
func TestTimes(t *testing.T) {
	get := func(c *Client) { c.Get("/quick", "bye") }
	once := func(at time.Duration) func(*Client) {
		return func(c *Client) { c.Fresh(); time.Sleep(at); get(c) }
	}
	idle := func(c *Client) { get(c); <-c.Over }
	twice := func(c *Client) { get(c); time.Sleep(160 * ms); get(c) }
	for name, tt := range map[string]struct {
		settle, budget time.Duration
		clients        []func(*Client)
		want           time.Duration
	}{
		"nothing to wait for":             {0, 10 * time.Second, nil, 0},
		"a quiet period":                  {300 * ms, 10 * time.Second, nil, 300 * ms},
		"a request before the stop":       {300 * ms, 10 * time.Second, []func(*Client){once(90 * ms)}, 300 * ms},
		"a request that settles":          {300 * ms, 10 * time.Second, []func(*Client){once(200 * ms)}, 403 * ms},
		"traffic that does not end":       {300 * ms, 10 * time.Second, []func(*Client){kinds["fresh"]}, 900 * ms},
		"half of the time for settling":   {300 * ms, time.Second, []func(*Client){kinds["fresh"]}, 450 * ms},
		"a kept connection that asks":     {0, 10 * time.Second, []func(*Client){kinds["quick"]}, 10 * ms},
		"one that is idle":                {0, 10 * time.Second, []func(*Client){idle}, 100 * ms},
		"one that is idle, one that asks": {0, 10 * time.Second, []func(*Client){idle, twice}, 180 * ms},
		"a silent connection":             {0, 10 * time.Second, []func(*Client){kinds["silent"]}, time.Second},
		"half of the time for it":         {0, time.Second, []func(*Client){kinds["silent"]}, 450 * ms},
	} {
		s := Scenario{
			Server:  func(*testing.T) *drain.Server { return server(tt.settle) },
			Clients: tt.clients, Budget: tt.budget, Within: tt.budget,
		}
		if _, report := s.run(t, 100*ms); report.Took.Round(ms) != tt.want {
			t.Errorf("%s: the drain took %v, want %v", name, report.Took, tt.want)
		}
	}
}

// Streams end at an even rate, so that their clients do not come back in one instant.
func TestPace(t *testing.T) {
	var mu sync.Mutex
	var ends []time.Time
	s := Scenario{
		Server: func(*testing.T) *drain.Server {
			return &drain.Server{HTTP: &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				<-drain.Stopping(r.Context()).Done()
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, time.Now())
			})}}
		},
		Clients: slices.Repeat([]func(*Client){func(c *Client) { c.Get("/", "") }}, 50),
		Budget:  10 * time.Second, Within: 2 * time.Second,
	}
	s.run(t, 500*ms)
	if spread := ends[len(ends)-1].Sub(ends[0]); len(ends) != 50 || spread != 49*5*ms {
		t.Errorf("%d streams ended within %v", len(ends), spread)
	}
}

// A handler that is deaf until its context ends cannot hold the drain past its budget.
func TestKill(t *testing.T) {
	for _, second := range []bool{false, true} {
		Explore(t, Scenario{
			Server: func(*testing.T) *drain.Server { return server(0) },
			Clients: []func(*Client){
				func(c *Client) {
					if second {
						c.HTTP2()
					}
					c.Get("/deaf", "bye")
				},
				kinds["upgrade"], kinds["upload"],
			},
			Length: 150 * time.Millisecond, Budget: 3 * time.Second, Within: 3 * time.Second, Deaf: true,
		}, *every)
	}
}

func server(settle time.Duration) *drain.Server {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &drain.Server{HTTP: &http.Server{Handler: site(), Protocols: p}, Settle: settle}
}

// site is a handler with work of several kinds. Each answer ends with "bye".
func site() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/quick", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "bye") })
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/deaf", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "wait, ")
		http.NewResponseController(w).Flush()
		time.Sleep(90 * time.Millisecond)
		io.WriteString(w, "bye")
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		stopping := drain.Stopping(r.Context())
		for {
			select {
			case <-time.After(29 * time.Millisecond):
				io.WriteString(w, "event\n")
				http.NewResponseController(w).Flush()
			case <-stopping.Done():
				io.WriteString(w, "bye")
				return
			}
		}
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, strings.Count(string(body), "piece"))
	})
	mux.HandleFunc("/lines", func(w http.ResponseWriter, r *http.Request) {
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		lines(conn, both, drain.Stopping(r.Context()).Done())
	})
	mux.HandleFunc("/later", func(w http.ResponseWriter, r *http.Request) {
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		go lines(conn, both, time.After(400*ms)) // the connection outlives the request, and knows of no stop
	})
	return mux
}

// lines echoes until stop.
func lines[T any](conn net.Conn, both *bufio.ReadWriter, stop <-chan T) {
	defer conn.Close()
	fmt.Fprint(both, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: lines\r\nConnection: Upgrade\r\n\r\n")
	both.Flush()
	heard, over := make(chan string), make(chan struct{})
	defer close(over)
	go func() {
		defer close(heard)
		for s := bufio.NewScanner(both); s.Scan(); {
			select {
			case heard <- s.Text():
			case <-over:
			}
		}
	}()
	for {
		select {
		case line, ok := <-heard:
			if !ok {
				return
			}
			fmt.Fprintln(conn, line)
		case <-stop:
			fmt.Fprintln(conn, "bye")
			return
		}
	}
}

// pieces is a body that takes a while.
func pieces() io.Reader {
	r, w := io.Pipe()
	go func() {
		for range 5 {
			if _, err := io.WriteString(w, "piece"); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		w.Close()
	}()
	return r
}
