package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Server runs an http.Server and stops it in the right order. Set HTTP, put
// [Server.Step] into a [Plan], and call ListenAndServe or Serve. A Server serves once
// and must not be copied.
//
// The step
//  1. settles: it serves on until no request has arrived for Settle, and asks HTTP/1
//     clients to close their connections
//  2. closes the listener: new connections are refused, so a balancer tries another
//     backend; probes on this listener are refused too
//  3. serves one more request of each kept connection, with Connection: close
//  4. closes the idle connections of HTTP/1
//  5. runs the hooks of http.Server.RegisterOnShutdown; HTTP/2 clients get GOAWAY
//  6. refuses further requests: http.Server drops those of HTTP/1 without an answer,
//     others get 503 with Retry-After
//  7. ends the [Stopping] contexts of streams, one by one
//  8. waits for every request that it admitted and every hijacked connection
//
// The step does not cut an admitted request before its time is over. Then it ends the
// remaining Stopping contexts and waits a moment. It cancels the contexts of the
// requests that are still within, closes all connections, and waits a moment for the
// handlers to return.
//
// No client is worse off than with http.Server.Shutdown. Both close the listener and
// idle connections, but the Server does it later. It settles after a failure too:
// the other requests deserve an answer.
//
// Serve probes, metrics and profiles on another listener, and stop that one in the
// last phase. Otherwise a liveness probe may fail during a drain that the program
// began itself, and the last scrape misses the drain.
//
// A browser's EventSource connects again after a refused connection, but not after a
// 503, which a balancer may send in its place. A handler that ends its stream can
// first send a retry field that lasts until the deadline of the Stopping context.
//
// For HTTP/2 without TLS, set HTTP.Protocols. The older h2c.NewHandler of
// golang.org/x/net hides its requests: the Server does not count, refuse or wait for
// them, unless [Server.Handler] wraps the handler inside it.
type Server struct {
	// HTTP is the server to run. Serve wraps its Handler, ConnState and ConnContext. If
	// its TLSConfig has certificates, it serves TLS and HTTP/2.
	HTTP *http.Server

	// Settle is the quiet period: the server stops accepting once the step has seen no
	// request for this long. Set it to check interval × (failure threshold + 1) of
	// the balancer's or kubelet's readiness check. That check must fail from the stop
	// on, as lifecycle.Group.Readyz does: the server itself still answers it. 0 means
	// that nothing checks readiness: the server stops accepting at once, as
	// http.Server.Shutdown does.
	Settle time.Duration

	// Window bounds the settling if requests go on arriving. 0 means 3 × Settle. It
	// is never more than half of the time that the plan gives Stop.
	Window time.Duration

	// RetryAfter is how long a refused client should wait at least. The server adds up
	// to as much again by chance, so that clients do not come back in one instant. It
	// counts in whole seconds. 0 means 1 s.
	RetryAfter time.Duration

	// Exempt reports whether a request is neither counted nor refused. The step does
	// not wait for a connection that such a request hijacks. Nil means the paths of
	// probes: /healthz, /livez, /readyz, /metrics. Exempt a check on another path, or
	// it counts as traffic and the settling lasts for the Window.
	Exempt func(*http.Request) bool

	// Name returns the name of a request, and of the connection that it hijacks, for
	// errors. Nil means method and path.
	Name func(*http.Request) string

	// Session returns the session that a request belongs to, such as a user's id, or
	// "" if it has none. The gate's Recorder gets it, and Gate.Cut returns it in place
	// of the name. Nil means that no request has a session.
	//
	// The Recorder has an HTTP/1 request until its answer is written, and for an instant
	// longer. It has an HTTP/2 request until its handler returns. If the process dies
	// then, the end of that answer is lost unrecorded.
	Session func(*http.Request) string

	// Gate admits the requests. Set it to share it with other work or to read
	// Gate.Cut. If it is nil, the server uses a private one.
	Gate *Gate

	setup     sync.Once
	wrapped   sync.Once
	own       Gate
	born      time.Time                // when prepare ran
	latest    atomic.Int64             // when the latest request arrived, since born
	accepting atomic.Pointer[listener] // while Serve runs
	down      atomic.Bool              // Shutdown of http.Server was called: its hooks run once
	ended     event                    // Stop returned before its time was over, or Kill returned
	closing   closing
	tracker   tracker
}

var errNoHTTP = errors.New("drain: Server.HTTP: nil; set the http.Server to run")

// ListenAndServe listens on HTTP.Addr and calls Serve. It fits lifecycle.Group.Go.
//
// If systemd passed a socket that listens on HTTP.Addr (from a .socket unit; Addr is
// the path of a unix socket), ListenAndServe serves that one, and no connection is
// refused across a restart. The Step then stops accepting at once: new connections,
// probes too, wait in the kernel for the next instance. Settle and Window have no
// effect.
//
// Each server of a process takes its own socket. The first call removes systemd's
// variables from the environment, so that child processes do not take the sockets.
func (s *Server) ListenAndServe(ctx context.Context) error {
	if s.HTTP == nil {
		return errNoHTTP
	}
	addr := cmp.Or(s.HTTP.Addr, ":http")
	if passed := activated(addr); passed != nil {
		return s.serve(ctx, newListener(passed, passed, &s.tracker))
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return s.Serve(ctx, l)
}

// Serve serves the connections that l accepts, and closes l. It returns nil once the
// Step has ended, and an error if anything else stopped it. The end of ctx closes all
// connections. If it comes before the Step begins, Serve returns the cause of ctx. So
// ctx must not end at the signal; that of a task of lifecycle.Group does not.
//
// To count hijacked connections, Serve must see the plain ones. For TLS set
// HTTP.TLSConfig: do not pass a listener of crypto/tls. Hooks and hijackers get a
// wrapper that can do what a *net.TCPConn or *net.UnixConn can.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.HTTP == nil {
		l.Close()
		return errNoHTTP
	}
	return s.serve(ctx, newListener(l, nil, &s.tracker))
}

func (s *Server) serve(ctx context.Context, l *listener) error {
	defer l.Close() // http.Server.ServeTLS does not always do it
	s.setup.Do(s.prepare)
	s.wrapped.Do(s.wrap)
	done, first := make(chan struct{}), false // first: ctx ended before the Step began
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		first = !s.closing.begun() && !s.down.Load()
		g := s.gate()
		g.shut(ctx)
		s.closing.cut(g, context.Cause(ctx))
		s.close()
		s.ended.happen()
	})
	err := s.accept(l)
	if !stop() {
		<-done
		if first && err == nil || errors.Is(err, http.ErrServerClosed) { // ended by ctx, not by the Step
			return context.Cause(ctx)
		}
	}
	return err
}

// accept serves until http.Server is closed. If the Step did that, it waits until the
// Step has ended, and returns nil.
func (s *Server) accept(l *listener) error {
	s.accepting.Store(l)
	defer s.accepting.CompareAndSwap(l, nil)
	var err error
	if c := s.HTTP.TLSConfig; c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil) {
		err = s.HTTP.ServeTLS(l, "", "")
	} else {
		err = s.HTTP.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) && s.down.Load() {
		<-s.ended.Done()
		return nil
	}
	return err
}

func (s *Server) prepare() { s.born, s.ended = time.Now(), newEvent() }

// Step returns the server's step for a plan. Its Name is "http": change it for a second
// server in the same phase.
func (s *Server) Step() Step { return Step{Name: "http", Stop: s.stop, Kill: s.kill} }

func (s *Server) stop(ctx context.Context) error {
	s.setup.Do(s.prepare)
	s.closing.begin(ctx)
	s.sendAway(ctx)
	shutdown, cancel := context.WithCancel(ctx)
	defer cancel()
	down := s.shutdown(shutdown)
	err := s.closing.close(ctx, s.gate())
	if err != nil && ctx.Err() != nil {
		return err
	}
	if !s.tracker.empty(ctx) { // Shutdown polls twice a second only
		return fmt.Errorf("drain: answers not sent yet: %w", context.Cause(ctx))
	}
	cancel()
	select {
	case failed := <-down:
		if !errors.Is(failed, shutdown.Err()) {
			err = cmp.Or(err, failed)
		}
	case <-ctx.Done():
		return fmt.Errorf("drain: listener not closed yet: %w", context.Cause(ctx))
	}
	s.ended.happen()
	return err
}

// sendAway makes clients and balancers go elsewhere while all requests are still
// served, in the order that Server documents.
func (s *Server) sendAway(ctx context.Context) {
	l, begin := s.accepting.Load(), time.Now()
	if s.down.Load() || l == nil && s.HTTP != nil { // it does not serve now
		return
	}
	if l == nil || l.kept == nil {
		s.settle(ctx)
	}
	if l == nil {
		return
	}
	l.rest(ctx)
	s.linger(ctx, begin)
	if ctx.Err() != nil { // Kill may be closing the listener under net/http's lock
		return
	}
	s.tracker.closeIdle()
	s.HTTP.SetKeepAlivesEnabled(false) // closes the other idle ones; Shutdown sends GOAWAY to those of HTTP/2
}

// kill cuts the requests within, closes all connections, and waits for the handlers to
// return, as the next phase may close what they use. It records the names before it
// closes connections, upon which requests leave. If none is cut, it lets the last
// answers out first. It does not wait for a Stop that still runs, which net/http may
// hold up.
func (s *Server) kill() {
	s.setup.Do(s.prepare)
	g := s.gate()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.shutdown(ended) // for its hooks
	if s.closing.kill(g) == nil {
		s.closing.wait(s.tracker.closeNew())
	}
	s.close()
	s.closing.wait(g.idle)
	s.ended.happen()
}

// shutdown begins http.Server's Shutdown, and so runs its hooks, unless that was done.
// Its goroutine ends soon after ctx, or when the listeners are closed.
func (s *Server) shutdown(ctx context.Context) <-chan error {
	down := make(chan error, 1)
	if s.HTTP == nil || s.down.Swap(true) {
		down <- nil
		return down
	}
	go func() { down <- s.HTTP.Shutdown(ctx) }()
	return down
}

// close closes the listeners and all connections. First it closes those that net/http
// does not know, and TLS ones without a goodbye that could block. It waits a grace at
// most for a listener whose Close or Accept does not return. net/http would wait on.
func (s *Server) close() {
	s.tracker.closeAll()
	if s.HTTP != nil {
		closed := make(chan struct{})
		go func() { // ends with that Close and Accept
			defer close(closed)
			s.HTTP.Close()
		}()
		s.closing.wait(closed)
	}
}

// rested reports whether the step has made the listener stop accepting.
func (s *Server) rested() bool {
	l := s.accepting.Load()
	return l != nil && l.rested.happened()
}

func (s *Server) gate() *Gate {
	if s.Gate != nil {
		return s.Gate
	}
	return &s.own
}

// wrap puts the gate before the handler.
func (s *Server) wrap() {
	s.HTTP.Handler = s.Handler(s.HTTP.Handler)
	onState, onConn := s.HTTP.ConnState, s.HTTP.ConnContext
	s.HTTP.ConnState = func(c net.Conn, state http.ConnState) {
		s.tracker.changed(c, state)
		if onState != nil {
			onState(c, state)
		}
	}
	s.HTTP.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if own := tracked(c); own != nil {
			if ctx.Done() == nil { // if ctx can end, each request has a cancel instead
				ctx, own.cancel = context.WithCancelCause(ctx)
			}
			ctx = context.WithValue(ctx, connKey{}, own)
		}
		if onConn != nil {
			ctx = onConn(ctx, c)
		}
		return ctx
	}
}
