package drain_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

const (
	ms   = time.Millisecond
	long = 1 << 18 // the length of a body that is not sent in one go
)

// A site is a server on a loopback listener, with a path for each way to behave.
type site struct {
	*drain.Server
	mux     *http.ServeMux
	t       *testing.T
	addr    string
	secure  bool
	client  *http.Client
	served  chan error
	conns   chan net.Conn // new ones, as the user's own ConnState hook sees them
	in      chan string   // paths whose handlers have begun
	free    chan struct{} // ends /hold
	taken   chan net.Conn // by /hijack
	full    atomic.Int64  // answers that /load gave in full
	working atomic.Bool   // /cut has begun and has not ended
}

func serve(t *testing.T, web *drain.Server, wrap func(net.Listener) net.Listener) *site {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if web.HTTP == nil {
		web.HTTP = &http.Server{}
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	s := &site{Server: web, t: t, addr: l.Addr().String(), secure: web.HTTP.TLSConfig != nil, client: &http.Client{Transport: transport}, served: make(chan error, 1),
		conns: make(chan net.Conn, 1000), in: make(chan string, 100), free: make(chan struct{}), taken: make(chan net.Conn, 1)}
	serving := make(chan struct{})
	base := web.HTTP.BaseContext
	web.HTTP.BaseContext = func(l net.Listener) context.Context {
		close(serving)
		if base != nil {
			return base(l)
		}
		return context.Background()
	}
	web.HTTP.Handler = s.handler()
	web.HTTP.ErrorLog = log.New(io.Discard, "", 0)
	hook := web.HTTP.ConnState
	web.HTTP.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew && len(s.conns) < cap(s.conns) { // it must not block
			s.conns <- c
		}
		if hook != nil {
			hook(c, state)
		}
	}
	if wrap != nil {
		l = wrap(l)
	}
	go func() { s.served <- web.Serve(context.Background(), l) }()
	<-serving
	t.Cleanup(func() {
		web.Step().Kill()
		transport.CloseIdleConnections()
	})
	return s
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	s.mux = mux
	on := func(path string, f http.HandlerFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.in <- path; f(w, r) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(io.ReaderFrom); !ok && r.ProtoMajor == 1 {
			s.t.Error("the ResponseWriter lost sendfile")
		}
		io.WriteString(w, "ok")
	})
	mux.HandleFunc("/load", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(long))
		if _, err := w.Write(make([]byte, long)); err == nil {
			s.full.Add(1)
		}
	})
	on("/hold", func(w http.ResponseWriter, r *http.Request) { <-s.free; w.Write(make([]byte, long)) })
	on("/deaf", func(w http.ResponseWriter, r *http.Request) { <-s.t.Context().Done() })
	on("/body", func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	on("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	on("/flood", func(w http.ResponseWriter, r *http.Request) {
		for err := error(nil); err == nil; {
			_, err = w.Write(make([]byte, long))
		}
	})
	on("/patient", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // net/http alone never ends it if a body was not read
		s.in <- context.Cause(r.Context()).Error()
	})
	on("/cut", func(w http.ResponseWriter, r *http.Request) {
		s.working.Store(true)
		<-r.Context().Done()
		time.Sleep(10 * ms)
		s.working.Store(false)
	})
	on("/hijack", func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			s.t.Error(err)
		}
		s.taken <- c
	})
	on("/sse", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := errors.Join(rc.SetWriteDeadline(time.Now().Add(time.Minute)), rc.Flush()); err != nil {
			s.t.Error(err)
		}
		<-drain.Stopping(r.Context()).Done()
		if r.Context().Err() != nil {
			s.t.Error("a stream was cancelled before it was told")
		}
		io.WriteString(w, "event: goodbye\n\n")
	})
	return mux
}

// certified returns a configuration with a certificate that signed itself.
func certified() *tls.Config {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}
}

// get reads an answer to its end. Without one, code is 0.
func (s *site) get(path string) (r *http.Response, code int, body string, err error) {
	scheme := "http://"
	if s.secure {
		scheme = "https://"
	}
	if r, err = s.client.Get(scheme + s.addr + path); err != nil {
		return nil, 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r, r.StatusCode, string(b), err
}

// ask is get, but returns an error for all but a whole answer.
func (s *site) ask(path string) (body string, err error) {
	_, code, body, err := s.get(path)
	if err == nil && code != http.StatusOK {
		err = errors.New(body)
	}
	return body, err
}

// begin sends a request and waits until the handler has it.
func (s *site) begin(path string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := s.ask(path)
		done <- err
	}()
	if got := <-s.in; got != path {
		s.t.Fatalf("%s began, not %s", got, path)
	}
	return done
}

// dial sends what a client of HTTP/1 would, or would not.
func (s *site) dial(send string) net.Conn {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	s.t.Cleanup(func() { c.Close() })
	io.WriteString(c, send)
	<-s.conns
	return c
}

// closed reports whether the server has closed its side.
func closed(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(time.Second))
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

// turnedAway asks until the server refuses, be it the connection or the request.
func (s *site) turnedAway() {
	for code := http.StatusOK; code == http.StatusOK; {
		var err error
		if _, code, _, err = s.get("/"); err != nil && !refused(err) {
			s.t.Fatalf("the server did not refuse: %v", err)
		}
	}
}

// refused reports whether the kernel refused a connection. It resets one that waits to
// be accepted when the listener is closed. The numbers are those of Windows.
func refused(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) && slices.Contains([]syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET, 10061, 10054}, no)
}

// A stopped is the result of a plan with the site's step alone.
type stopped struct {
	drain.Report
	err  error
	late time.Duration
}

// over reports whether the stop took longer than most, on a machine that had
// time for it.
func (s stopped) over(most time.Duration) bool { return s.Took-s.late > most }

// lateness begins to add up by how much a sleeper wakes up too late, and returns
// what ends that: other processes have the machine meanwhile.
func lateness() (end func() time.Duration) {
	stop, sum := make(chan struct{}), make(chan time.Duration)
	go func() {
		var late time.Duration
		for {
			const nap = 5 * ms
			begin := time.Now()
			select {
			case <-time.After(nap):
				if d := time.Since(begin) - nap; d > ms {
					late += d
				}
			case <-stop:
				sum <- late
				return
			}
		}
	}()
	return func() time.Duration { close(stop); return <-sum }
}

func (s *site) stop(ctx context.Context, budget time.Duration) <-chan stopped {
	done, begun := make(chan stopped, 1), make(chan struct{})
	go func() {
		p := drain.Plan{Budget: budget, Phases: []drain.Phase{phase("p", 0, 0, s.Step(),
			drain.Step{Name: "begun", Stop: func(context.Context) error { close(begun); return nil }})}}
		late := lateness()
		r, err := p.Run(ctx)
		done <- stopped{r, err, late()}
	}()
	<-begun
	return done
}

// end does to the step what a plan does that gives it so long.
func (s *site) end(within time.Duration) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), within)
	defer cancel()
	done, begin := make(chan error, 1), time.Now()
	go func() { done <- s.Step().Stop(ctx) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		s.Step().Kill()
		err = <-done
	}
	return time.Since(begin), err
}

// waits checks that a stop is not over, nor Serve.
func (s *site) waits(done <-chan stopped) {
	select {
	case got := <-done:
		s.t.Errorf("did not wait: %v", got)
	case err := <-s.served:
		s.t.Errorf("Serve returned early: %v", err)
	case <-time.After(50 * ms):
	}
}

// A stallListener's connections are of no type that net/http knows. Writes to
// them block while stall is set, until they are closed.
type stallListener struct {
	net.Listener
	stall *atomic.Bool
}

func (l stallListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stallConn{c, l.stall}, nil
}

type stallConn struct {
	net.Conn
	stall *atomic.Bool
}

func (c stallConn) Write(b []byte) (int, error) {
	for c.stall.Load() {
		if err := c.Conn.SetReadDeadline(time.Time{}); err != nil {
			return 0, err // closed
		}
		time.Sleep(ms)
	}
	return c.Conn.Write(b)
}
