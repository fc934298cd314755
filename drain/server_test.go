package drain_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// say sends a request on a connection and reads the answer.
func say(t *testing.T, c net.Conn, path string) *http.Response {
	t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	r.Body.Close()
	return r
}

// The order that Server documents.
func TestServerOrder(t *testing.T) {
	for _, config := range []*tls.Config{nil, certified()} {
		var hooked atomic.Bool
		web := &http.Server{TLSConfig: config}
		web.RegisterOnShutdown(func() { hooked.Store(true) })
		s := serve(t, &drain.Server{HTTP: web, Settle: 250 * ms, Window: 400 * ms, RetryAfter: 1500 * ms}, nil)
		hold, sse := s.begin("/hold"), s.begin("/sse")
		first, second := s.dial(""), s.dial("") // their requests come while the server lingers, and after that
		done := s.stop(t.Context(), 20*time.Second)
		if _, err := s.ask("/"); err != nil {
			t.Errorf("while settling: %v", err)
		}
		s.turnedAway()
		if r := say(t, first, "/"); r.StatusCode != http.StatusOK || !r.Close || hooked.Load() {
			t.Errorf("after the listener is closed: %s, closing %v; hooks ran %v", r.Status, r.Close, hooked.Load())
		}
		if err := <-sse; err != nil {
			t.Errorf("a stream: %v", err)
		}
		for begin := time.Now(); !hooked.Load(); time.Sleep(ms) { // they run in a goroutine
			if time.Since(begin) > 5*time.Second {
				t.Fatal("the hooks did not run")
			}
		}
		io.WriteString(second, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if b, err := io.ReadAll(second); len(b) > 0 || err != nil {
			t.Errorf("after the gate is shut: %q, %v", b, err)
		}
		w := httptest.NewRecorder()
		s.HTTP.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if wait, err := strconv.Atoi(w.Header().Get("Retry-After")); w.Code != http.StatusServiceUnavailable || err != nil || wait < 2 || wait > 3 {
			t.Errorf("the gate refuses with %d, Retry-After %d: %v", w.Code, wait, err)
		}
		s.waits(done)
		close(s.free)
		if err := <-hold; err != nil {
			t.Errorf("the request within: %v", err)
		}
		if got, err := <-done, <-s.served; got.err != nil || got.over(4*time.Second) || err != nil {
			t.Errorf("took %v: %v; Serve: %v", got.Took, got.err, err)
		}
		if _, err := s.ask("/"); err == nil {
			t.Error("serves after the stop")
		}
	}
}

// A server refuses after a quiet of Settle, or at the end of the window.
func TestServerSettle(t *testing.T) {
	for _, tt := range []struct {
		name           string
		settle, window time.Duration
		traffic        time.Duration // how long it goes on
		end, atMost    time.Duration // of the window, of the stop
	}{
		{"no requests", 200 * ms, 0, 0, 600 * ms, 600 * ms},
		{"quiet after traffic", 200 * ms, 1500 * ms, 300 * ms, 890 * ms, 890 * ms},
		{"traffic that does not cease", 400 * ms, 600 * ms, time.Minute, 600 * ms, 1200 * ms},
		{"half of the time at most", time.Second, 0, time.Minute, 890 * ms, 1500 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &drain.Server{Settle: tt.settle, Window: tt.window}, nil)
			begin := time.Now()
			done := s.stop(t.Context(), 2*time.Second) // 1.8 s of it for Stop
			last := begin
			for sent := begin; sent.Sub(begin) < tt.traffic; sent = time.Now() {
				if _, err := s.ask("/"); err != nil {
					break
				}
				last = sent
			}
			got := <-done
			quiet, took := time.Since(last), time.Since(begin)
			if quiet < tt.settle && took < tt.end || took > tt.atMost || got.err != nil {
				t.Errorf("took %v, after %v of quiet; %v", took, quiet, got)
			}
		})
	}
}

// Streams end well, and soon. How they are spread is judged in internal/explore.
func TestServerStreams(t *testing.T) {
	s := serve(t, &drain.Server{}, nil)
	const n = 50
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if body, err := s.ask("/sse"); err != nil || body != "event: goodbye\n\n" {
				t.Errorf("stream ended with %q, %v", body, err)
			}
		})
	}
	for range n {
		<-s.in
	}
	got := <-s.stop(t.Context(), 10*time.Second)
	wg.Wait()
	if got.err != nil || got.over(2*time.Second) {
		t.Errorf("the drain took %v: %v", got.Took, got.err)
	}
}

// What clients and handlers do to keep a server from ending. If want, part
// of the error, is empty, the stop is not delayed, for net/http's 5 s or more;
// else it ends with its budget, and nothing is cut before Kill.
func TestServerAgainst(t *testing.T) {
	const head, body = " HTTP/1.1\r\nHost: x\r\n\r\n", " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
	for _, tt := range []struct {
		name, send, begun string
		trickle           bool // goes on with a byte now and then
		want              string
	}{
		{"a silent connection", "", "", false, ""},
		{"a header byte by byte", "GET / HTTP/1.1\r\nx: ", "", true, ""},
		{"a second header byte by byte", "GET /" + head + "GET / HTTP/1.1\r\nx: ", "", true, ""},
		{"a panic", "GET /panic" + head, "/panic", false, ""},
		{"a deaf handler", "GET /deaf" + head, "/deaf", false, "1 still in (GET /deaf "},
		{"a body that does not come", "POST /body" + body, "/body", false, "1 still in (POST /body "},
		{"a body byte by byte", "POST /body" + body, "/body", true, "1 still in (POST /body "},
		{"an answer that is not read", "GET /flood" + head, "/flood", false, "1 still in (GET /flood "},
		{"a context that only Kill ends", "POST /patient" + body, "/patient", false, "1 still in (POST /patient "},
		{"a hijacked connection", "GET /hijack" + head, "/hijack", false, "1 still in (GET /hijack "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &drain.Server{}, nil)
			c := s.dial(tt.send)
			if tt.begun != "" {
				<-s.in
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			if tt.trickle {
				wg.Go(func() {
					for err := error(nil); err == nil; time.Sleep(20 * ms) {
						_, err = io.WriteString(c, "x")
					}
				})
			}
			budget, least, most := 4*time.Second, time.Duration(0), 2*time.Second
			if tt.want != "" {
				budget, least, most = time.Second, 900*ms, 1500*ms
			}
			got := <-s.stop(t.Context(), budget)
			if (got.err == nil) != (tt.want == "") || !strings.Contains(fmt.Sprint(got.err), tt.want) || got.Took < least || got.over(most) {
				t.Errorf("took %v: %v; want %q", got.Took, got.err, tt.want)
			}
			if err := <-s.served; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if !closed(c) {
				t.Error("the connection is open")
			}
			if tt.begun == "/patient" {
				<-s.in
			}
		})
	}
}

// A hijacked connection counts until its Close, unless it is an exempt one or
// came through a listener of crypto/tls.
func TestServerHijacked(t *testing.T) {
	bare := func(l net.Listener) net.Listener { return stallListener{l, new(atomic.Bool)} }
	secured := func(l net.Listener) net.Listener { return tls.NewListener(l, certified()) }
	for _, tt := range []struct {
		name   string
		http   *http.Server
		wrap   func(net.Listener) net.Listener
		exempt bool
		counts bool
	}{
		{"TCP", &http.Server{}, nil, false, true},
		{"TLS", &http.Server{TLSConfig: certified()}, nil, false, true},
		{"another kind", &http.Server{}, bare, false, true},
		{"exempt", &http.Server{}, nil, true, false},
		{"listener of crypto/tls", &http.Server{TLSConfig: &tls.Config{}}, secured, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, &drain.Server{HTTP: tt.http, Exempt: func(*http.Request) bool { return tt.exempt }}, tt.wrap)
			client := s.dial("GET /hijack HTTP/1.1\r\nHost: x\r\n\r\n")
			c := <-s.taken
			done := s.stop(t.Context(), 5*time.Second)
			if tt.counts {
				s.turnedAway()
				s.waits(done)
				c.Close()
				c.Close()
			}
			if got := <-done; got.err != nil || got.over(2*time.Second) {
				t.Errorf("took %v: %v", got.Took, got.err)
			}
			if s.Step().Kill(); tt.exempt && !closed(client) {
				t.Error("open after Kill")
			}
			c.Close()
		})
	}
}

// A TLS connection says goodbye when it is closed, for up to 5 s, and net/http
// closes one after the other, under its lock. Kill closes the plain connections.
func TestServerStalledGoodbye(t *testing.T) {
	var stall atomic.Bool
	idle := make(chan bool, 1)
	web := &drain.Server{HTTP: &http.Server{TLSConfig: certified(), ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateIdle {
			idle <- true
		}
	}}}
	s := serve(t, web, func(l net.Listener) net.Listener { return stallListener{l, &stall} })
	s.dial("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	stall.Store(<-idle)
	if took, err := s.end(100 * ms); err != nil || took > 2*time.Second { // nothing was cut
		t.Errorf("took %v: %v", took, err)
	}
}

func TestServerBudget(t *testing.T) {
	const budget = 2 * time.Second
	s := serve(t, &drain.Server{}, nil)
	deaf := s.begin("/deaf")
	got := <-s.stop(t.Context(), budget)
	if !errors.Is(got.err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(got.err), "1 still in (GET /deaf ") || got.over(budget+100*ms) {
		t.Errorf("took %v: %v", got.Took, got.err)
	}
	if err := <-deaf; err == nil {
		t.Error("the connection was not closed")
	}
}

// What the handler answers reaches the client in full; what it does not see is
// refused with 503 or not answered at all.
func TestServerUnderLoad(t *testing.T) {
	for _, config := range []*tls.Config{nil, certified()} {
		s := serve(t, &drain.Server{HTTP: &http.Server{TLSConfig: config}}, nil)
		var answered atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					_, code, body, err := s.get("/load")
					switch {
					case code == 0:
						return
					case err != nil || code == http.StatusOK && len(body) != long:
						t.Errorf("%d with %d bytes: %v", code, len(body), err)
					case code == http.StatusOK:
						answered.Add(1)
					}
				}
			})
		}
		for answered.Load() < 50 {
			time.Sleep(ms)
		}
		got := <-s.stop(t.Context(), 10*time.Second)
		wg.Wait()
		if got.err != nil || answered.Load() != s.full.Load() {
			t.Errorf("TLS %v: %d of %d answers arrived: %v", config != nil, answered.Load(), s.full.Load(), got.err)
		}
	}
}

func TestServerForced(t *testing.T) {
	for _, web := range []*drain.Server{{}, {Settle: time.Minute}, {HTTP: &http.Server{TLSConfig: certified()}}} {
		s := serve(t, web, nil)
		deaf := s.begin("/deaf")
		ctx, force := asked(time.Now())
		done := s.stop(ctx, 10*time.Second)
		begin := time.Now()
		force()
		got := <-done
		if took := time.Since(begin); took > time.Second || !errors.Is(got.err, context.Canceled) || !strings.Contains(fmt.Sprint(got.err), "GET /deaf") {
			t.Errorf("took %v: %v", took, got.err)
		}
		if err := <-deaf; err == nil {
			t.Error("the connection was not closed")
		}
	}
}

// Serve returns nil if the step stopped it, else an error that says what did.
func TestServerReturns(t *testing.T) {
	why := errors.New("why")
	type end = context.CancelCauseFunc
	for _, tt := range []struct {
		name string
		stop func(*drain.Server, net.Listener, end)
		want error
	}{
		{"Stop", func(s *drain.Server, _ net.Listener, _ end) { s.Step().Stop(t.Context()) }, nil},
		{"Kill", func(s *drain.Server, _ net.Listener, _ end) { s.Step().Kill() }, nil},
		{"the program closes the listener", func(_ *drain.Server, l net.Listener, _ end) { l.Close() }, net.ErrClosed},
		{"the program closes the server", func(s *drain.Server, _ net.Listener, _ end) { s.HTTP.Close() }, http.ErrServerClosed},
		{"the context", func(_ *drain.Server, _ net.Listener, end end) { end(why) }, why},
	} {
		listening := make(chan net.Listener, 1)
		s := &drain.Server{HTTP: &http.Server{Addr: "127.0.0.1:0"}}
		s.HTTP.BaseContext = func(l net.Listener) context.Context { listening <- l; return context.Background() }
		ctx, cancel := context.WithCancelCause(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.ListenAndServe(ctx) }()
		tt.stop(s, <-listening, cancel)
		if err := <-served; !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		cancel(nil)
	}
}

// The step may come before Serve, twice, or without a server.
func TestServerStepAlone(t *testing.T) {
	before := &drain.Server{Settle: time.Minute, HTTP: &http.Server{Addr: "127.0.0.1:0"}}
	for _, s := range []*drain.Server{before, serve(t, &drain.Server{Settle: 300 * ms}, nil).Server} {
		p := drain.Plan{Phases: []drain.Phase{phase("a", 0, 0, s.Step()), phase("b", 0, 0, s.Step())}}
		if r, err := p.Run(t.Context()); err != nil || r.Took > 550*ms {
			t.Errorf("took %v: %v", r.Took, err)
		}
	}
	if err := before.ListenAndServe(t.Context()); err != nil {
		t.Errorf("stopped before it began: %v", err)
	}
	var empty drain.Server
	if err := empty.ListenAndServe(t.Context()); err == nil || err.Error() != "drain: Server.HTTP: nil; set the http.Server to run" {
		t.Errorf("got %v", err)
	}
	if err := empty.Step().Stop(t.Context()); err != nil {
		t.Error(err)
	}
	empty.Step().Kill()
}

// The user's hooks are kept, and may close what they see. A TCP connection can
// still do sendfile.
func TestServerHooks(t *testing.T) {
	for _, at := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateClosed} {
		var sendfile atomic.Bool
		s := serve(t, &drain.Server{HTTP: &http.Server{
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				_, ok := c.(io.ReaderFrom)
				sendfile.Store(ok)
				return ctx
			},
			ConnState: func(c net.Conn, state http.ConnState) {
				if state == at {
					c.Close()
				}
			},
		}}, nil)
		closed(s.dial("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
		if got := <-s.stop(t.Context(), 2*time.Second); got.err != nil || got.over(time.Second) || !sendfile.Load() {
			t.Errorf("closed at %v: took %v, io.ReaderFrom %v: %v", at, got.Took, sendfile.Load(), got.err)
		}
	}
}
