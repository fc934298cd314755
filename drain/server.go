package drain

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A Server runs an http.Server and stops it in the right order. Its Step
//
//	settles: serves on until the load balancer has noticed that readiness failed
//	refuses new requests with 503, Retry-After and Connection: close
//	announces the stop to streams, whose [Stopping] contexts end one by one
//	waits for every request it admitted and every hijacked connection
//	shuts the http.Server down
//
// and, where its time is over, closes all connections, the silent and the
// hijacked ones too. A request that was admitted is not cut before that.
//
// Only HTTP must be set. A Server serves once and must not be copied.
type Server struct {
	// HTTP is the server to run. Serve wraps its Handler and ConnState. With
	// certificates in its TLSConfig it serves TLS and HTTP/2.
	HTTP *http.Server

	// Settle is how long no request must have come before the server refuses:
	// at least twice the interval at which the load balancer asks for
	// readiness. 0 means that nobody needs to notice.
	Settle time.Duration

	// Window bounds the settling under traffic that does not cease. 0 means
	// three times Settle. Half of the step's time is the most it can be.
	Window time.Duration

	// RetryAfter is what a refused client is told to wait at least; up to as
	// much again is added by chance, so that clients do not come back in one
	// instant. It counts in whole seconds; 0 means 1 s.
	RetryAfter time.Duration

	// Exempt says which requests are neither counted nor refused nor waited
	// for. Nil means the paths of probes: /healthz, /livez, /readyz, /metrics.
	Exempt func(*http.Request) bool

	// Name names a request in errors and in Gate.Cut. Nil means its method
	// and path.
	Name func(*http.Request) string

	// Gate admits the requests. Set it to share it with other work or to read
	// Gate.Cut. Nil means a gate of the server's own.
	Gate *Gate

	setup   sync.Once
	next    http.Handler
	own     Gate
	latest  atomic.Int64 // when the latest request came, by UnixNano; 0: none yet
	serving atomic.Bool  // Serve was called
	stopped atomic.Bool  // the step has begun to close
	tracker tracker
}

var errNoHTTP = errors.New("drain: Server.HTTP: nil; set the http.Server to run")

// ListenAndServe listens on HTTP.Addr and serves. It fits lifecycle.Group.Go:
// it returns nil once the Step has stopped it. Where ctx ends before that it
// closes all connections and returns ctx's cause.
func (s *Server) ListenAndServe(ctx context.Context) error {
	if s.HTTP == nil {
		return errNoHTTP
	}
	addr := s.HTTP.Addr
	if addr == "" {
		addr = ":http"
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(cut); s.closeAll() })
	err = s.Serve(l)
	if !stop() {
		<-cut
		if !s.stopped.Load() {
			return context.Cause(ctx)
		}
	}
	return err
}

// Serve serves the connections that l accepts, and closes l. It returns nil
// once the Step has stopped it, and else an error. To count hijacked
// connections it must see the plain ones: for TLS set HTTP.TLSConfig rather
// than passing a listener of crypto/tls.
func (s *Server) Serve(l net.Listener) error {
	if s.HTTP == nil {
		l.Close()
		return errNoHTTP
	}
	s.setup.Do(s.wrap)
	s.serving.Store(true)
	l = &listener{l, &s.tracker}
	var err error
	if c := s.HTTP.TLSConfig; c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil) {
		err = s.HTTP.ServeTLS(l, "", "")
	} else {
		err = s.HTTP.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) && s.stopped.Load() {
		return nil
	}
	return err
}

// Step returns the server's step of a plan. It is named "http".
func (s *Server) Step() Step {
	return Step{Name: "http", Stop: s.stop, Kill: func() {
		g := s.gate()
		g.shut(context.Background())
		g.giveUp(errKilled)
		s.stopped.Store(true)
		s.closeAll()
	}}
}

var errKilled = errors.New("drain: the server's connections were closed")

func (s *Server) stop(ctx context.Context) error {
	if s.HTTP == nil {
		return errNoHTTP
	}
	g := s.gate()
	if s.serving.Load() {
		s.settle(ctx)
	}
	g.shut(ctx)
	s.HTTP.SetKeepAlivesEnabled(false) // answers now say Connection: close
	s.announce(ctx, g)
	if err := g.wait(ctx); err != nil {
		return err
	}
	s.stopped.Store(true)
	s.tracker.closeNew()
	if err := s.HTTP.Shutdown(ctx); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// settle waits until no request came for Settle, or the window or ctx ends.
func (s *Server) settle(ctx context.Context) {
	if s.Settle <= 0 {
		return
	}
	begin := time.Now()
	window := s.Window
	if window <= 0 {
		window = 3 * s.Settle
	}
	if d, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(d)/2)
	}
	end := begin.Add(window)
	for {
		quiet := time.Unix(0, s.latest.Load())
		if quiet.Before(begin) {
			quiet = begin
		}
		quiet = quiet.Add(s.Settle)
		if quiet.After(end) {
			quiet = end
		}
		d := time.Until(quiet)
		if d <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(d):
		}
	}
}

// streamsPerSecond is the least rate at which streams are told to end: a few
// of them need not be spread over the whole of a long drain.
const streamsPerSecond = 200

// announce ends the Stopping contexts of the requests within, oldest first, at
// an even rate over half of what remains, so that the clients do not all
// reconnect in one instant.
func (s *Server) announce(ctx context.Context, g *Gate) {
	es := g.listeners()
	if len(es) == 0 {
		return
	}
	apart := time.Second / streamsPerSecond
	if d, ok := ctx.Deadline(); ok {
		apart = min(apart, time.Until(d)/2/time.Duration(len(es)))
	}
	begin := time.Now()
	for i, e := range es {
		select {
		case <-g.idle:
			return
		case <-ctx.Done():
		case <-time.After(time.Until(begin.Add(time.Duration(i) * apart))):
		}
		e.announce()
	}
}

func (s *Server) gate() *Gate {
	if s.Gate != nil {
		return s.Gate
	}
	return &s.own
}

func (s *Server) closeAll() {
	if s.HTTP != nil {
		s.HTTP.Close()
	}
	s.tracker.closeHijacked()
}

// wrap puts the gate before the handler.
func (s *Server) wrap() {
	if s.next = s.HTTP.Handler; s.next == nil {
		s.next = http.DefaultServeMux
	}
	s.HTTP.Handler = http.HandlerFunc(s.serve)
	s.tracker.gate = s.gate()
	before := s.HTTP.ConnState
	s.HTTP.ConnState = func(c net.Conn, state http.ConnState) {
		s.tracker.changed(c, state)
		if before != nil {
			before(c, state)
		}
	}
}

var probes = []string{"/healthz", "/livez", "/readyz", "/metrics"}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.Exempt != nil && s.Exempt(r) || s.Exempt == nil && slices.Contains(probes, r.URL.Path) {
		s.next.ServeHTTP(w, r)
		return
	}
	s.latest.Store(time.Now().UnixNano())
	g := s.gate()
	if !g.Enter() {
		s.refuse(w)
		return
	}
	defer g.Leave()
	e := &entry{Context: r.Context(), gate: g}
	if s.Name != nil {
		e.name = s.Name(r)
	} else {
		e.name = r.Method + " " + r.URL.Path
	}
	g.add(e)
	defer g.remove(e)
	s.next.ServeHTTP(w, r.WithContext(e))
}

func (s *Server) refuse(w http.ResponseWriter) {
	wait := max(s.RetryAfter, time.Second)
	wait += rand.N(wait + 1)
	h := w.Header()
	h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	h.Set("Connection", "close")
	http.Error(w, "stopping", http.StatusServiceUnavailable)
}
