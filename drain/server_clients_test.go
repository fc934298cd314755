package drain_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// posts sends requests from n goroutines, with a pause after each, until ask
// reports that it has enough. A POST is one that no client repeats by itself.
func posts(n int, client *http.Client, url string, pause time.Duration, enough func(code int, err error) bool) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for done := false; !done; time.Sleep(pause) {
				code := 0
				r, err := client.Post(url, "text/plain", strings.NewReader("x"))
				if err == nil {
					code = r.StatusCode
					_, err = io.Copy(io.Discard, r.Body)
					r.Body.Close()
				}
				done = enough(code, err)
			}
		})
	}
	return &wg
}

// A balancer that only chooses a backend for new connections, as those of layer 4
// do, gets its clients' kept connections moved while the server settles.
func TestServerMovesKeptConnections(t *testing.T) {
	leaving, other := serve(t, &drain.Server{Settle: 200 * ms, Window: 2 * time.Second}, nil), serve(t, &drain.Server{}, nil)
	var to atomic.Pointer[site]
	to.Store(leaving)
	transport := &http.Transport{MaxIdleConnsPerHost: 100, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, to.Load().addr)
	}}
	defer transport.CloseIdleConnections()
	var asked atomic.Int64
	var over atomic.Bool
	wg := posts(8, &http.Client{Transport: transport}, "http://balanced/", 5*ms, func(code int, err error) bool {
		asked.Add(1)
		if code != http.StatusOK || err != nil {
			t.Errorf("%d, %v", code, err)
		}
		return over.Load()
	})
	for asked.Load() < 100 {
		time.Sleep(ms)
	}
	done := leaving.stop(t.Context(), 10*time.Second)
	time.AfterFunc(100*ms, func() { to.Store(other) }) // it has noticed
	got := <-done
	over.Store(true)
	wg.Wait()
	if got.err != nil || got.over(time.Second) {
		t.Errorf("took %v: %v", got.Took, got.err)
	}
}

// A server that nothing checks stops under load. Each connection that clients keep
// is served once more: no request on it gets a reset or 503. http.Server.Shutdown
// resets some of them.
func TestServerLeavesKeptConnections(t *testing.T) {
	for range 5 {
		s := serve(t, &drain.Server{}, nil)
		hold := s.begin("/hold")
		noMore := errors.New("no new connection")
		var leaving atomic.Bool
		transport := &http.Transport{MaxIdleConnsPerHost: 100, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if leaving.Load() {
				return nil, noMore
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
		defer transport.CloseIdleConnections()
		var served atomic.Int64
		wg := posts(16, &http.Client{Transport: transport}, "http://"+s.addr+"/", 0, func(code int, err error) bool {
			if err == nil && code == http.StatusOK {
				served.Add(1)
				return false
			}
			if !errors.Is(err, noMore) {
				t.Errorf("%d, %v", code, err)
			}
			return true
		})
		for served.Load() < 300 {
			time.Sleep(ms)
		}
		leaving.Store(true)
		done := s.stop(t.Context(), 10*time.Second)
		wg.Wait()
		close(s.free)
		if got, err := <-done, <-hold; got.err != nil || err != nil {
			t.Errorf("%v, the request within: %v", got.err, err)
		}
	}
}

// A handshake that is about to leave HTTP is not asked to close the connection,
// though the server settles.
func TestServerSettlesUpgrades(t *testing.T) {
	s := serve(t, &drain.Server{Settle: 300 * ms}, nil)
	done := s.stop(t.Context(), 10*time.Second)
	for upgrade, want := range map[string]bool{"": true, "websocket": false} {
		r, err := http.NewRequest("GET", "http://"+s.addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if upgrade != "" {
			r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {upgrade}}
		}
		answer, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || answer.Close != want {
			t.Errorf("upgrade to %q: %s, closing %v", upgrade, answer.Status, answer.Close)
		}
	}
	if got := <-done; got.err != nil {
		t.Error(got.err)
	}
}

// The next phase closes what handlers use. So it begins after the handlers
// that were cut have returned, if they do so soon.
func TestServerKillWaits(t *testing.T) {
	for _, forced := range []bool{false, true} {
		// On a busy machine a handler may return later than Kill waits. One of these must not.
		var problem string
		for range 5 {
			if problem = killWaits(t, forced); problem == "" {
				break
			}
		}
		if problem != "" {
			t.Errorf("forced %v: %s", forced, problem)
		}
	}
}

// killWaits returns what was wrong, if anything.
func killWaits(t *testing.T, forced bool) string {
	s := serve(t, &drain.Server{}, nil)
	cut := s.begin("/cut")
	ctx, force := asked(time.Now())
	var used bool
	p := drain.Plan{Budget: 5 * time.Second, Phases: []drain.Phase{
		phase("before", 0, 0, drain.Step{Name: "before", Stop: func(context.Context) error {
			if forced {
				force()
			}
			return nil
		}}),
		phase("requests", time.Second, 0, s.Step()),
		phase("db", 0, 100*ms, drain.Step{Name: "db", Stop: func(context.Context) error {
			used = s.working.Load()
			return nil
		}}),
	}}
	r, err := p.Run(ctx)
	want := drain.Killed
	if forced {
		want = drain.Skipped // Stop was
	}
	if err := <-cut; err == nil {
		t.Error("the connection was not closed")
	}
	if used || r.Results[1].Outcome != want || r.Results[1].Took > 1100*ms {
		return fmt.Sprintf("a handler was at work in the next phase: %v; %v", used, err)
	}
	return ""
}

// At Kill the context of a request ends with the reason. If the connection
// has a cancel, the request has none.
func TestServerCutsContexts(t *testing.T) {
	base, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, config := range []*tls.Config{nil, certified()} {
		for _, web := range []*http.Server{{}, {BaseContext: func(net.Listener) context.Context { return base }}} {
			web.TLSConfig = config
			s := serve(t, &drain.Server{HTTP: web}, nil)
			scheme := "http://"
			if s.secure {
				scheme = "https://"
			}
			body, w := io.Pipe() // net/http ends no context while it waits for a body
			var wg sync.WaitGroup
			wg.Go(func() {
				if r, err := s.client.Post(scheme+s.addr+"/patient", "text/plain", body); err == nil {
					r.Body.Close()
				}
			})
			<-s.in
			got := <-s.stop(t.Context(), 300*ms)
			if why := <-s.in; why != "out of time in phase p" || got.err == nil {
				t.Errorf("the context ended for %q: %v", why, got.err)
			}
			w.Close()
			wg.Wait()
		}
	}
}

// A lookedAt is a context that calls look before each Done.
type lookedAt struct {
	context.Context
	look func()
}

func (l lookedAt) Done() <-chan struct{} { l.look(); return l.Context.Done() }

// Kill comes while Stop ends the contexts of two requests, and one has left: both
// are named.
func TestServerNamesAll(t *testing.T) {
	s := serve(t, &drain.Server{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var left sync.WaitGroup
	var stopping atomic.Bool
	first := lookedAt{context.Background(), func() {
		if !stopping.Swap(false) {
			return
		}
		left.Wait()
		killed := make(chan bool)
		go func() { s.Step().Kill(); close(killed) }()
		select {
		case <-killed:
		case <-time.After(100 * ms):
		}
	}}
	enter := func(ctx context.Context) {
		s.HTTP.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/cut", nil))
	}
	var second sync.WaitGroup
	left.Go(func() { enter(first) })
	<-s.in
	second.Go(func() { enter(context.Background()) })
	<-s.in
	stopping.Store(true)
	cancel()
	if err := s.Step().Stop(ctx); !strings.Contains(fmt.Sprint(err), "2 still in (GET /cut ") {
		t.Error(err)
	}
	second.Wait()
}

// Refused clients do not all get the same Retry-After.
func TestServerRetryAfter(t *testing.T) {
	for least, want := range map[time.Duration]string{0: "1 2", time.Second: "1 2", 1500 * ms: "2 3", 2 * time.Second: "2 3 4"} {
		s := serve(t, &drain.Server{RetryAfter: least}, nil)
		s.Step().Stop(t.Context())
		var told []string
		for range 100 {
			w := httptest.NewRecorder()
			s.HTTP.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			told = append(told, w.Header().Get("Retry-After"))
		}
		slices.Sort(told)
		if got := strings.Join(slices.Compact(told), " "); got != want {
			t.Errorf("RetryAfter %v: told %s s, want %s", least, got, want)
		}
	}
}

// A server whose listener has failed does not settle at the stop.
func TestServerFailed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	web := &drain.Server{HTTP: &http.Server{}, Settle: time.Minute}
	if err := web.Serve(t.Context(), l); err == nil {
		t.Error("served on a closed listener")
	}
	begin := time.Now()
	if err := web.Step().Stop(t.Context()); err != nil || time.Since(begin) > 10*time.Second {
		t.Errorf("stopped after %v: %v", time.Since(begin), err)
	}
}
