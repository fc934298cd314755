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

// A Server runs an http.Server and stops it in the right order. Its Step
//
//	settles: it serves on until no request has arrived for Settle, and asks HTTP/1
//	  clients to close their connections
//	closes the listener: new connections are refused, so a balancer tries another
//	  backend; probes on this listener are refused too
//	serves one more request of each kept connection, with Connection: close
//	closes the connections that are idle, and sends GOAWAY on those of HTTP/2
//	runs the hooks of http.Server.RegisterOnShutdown; HTTP/2 clients get GOAWAY
//	refuses further requests: http.Server drops those of HTTP/1 without an answer,
//	  others get 503 with Retry-After
//	ends the [Stopping] contexts of streams, one by one
//	waits for every request that it admitted and every hijacked connection
//
// A request that was admitted is not cut before the step's time is over. Then the
// step ends the remaining Stopping contexts and waits a moment. It ends the
// contexts of the requests that are still within, closes all connections, and
// waits a moment for the handlers to return.
//
// The order makes a Server no worse than http.Server.Shutdown for any client: both
// close the listener and idle connections, but the Server does it later. It also
// settles if a failure began the drain, since the other requests deserve an answer.
//
// Serve probes, metrics and profiles on a listener of their own, and stop it in the
// last phase: a drain that the program began itself is not to fail its liveness
// probe, and the last scrape should see the drain.
//
// A browser's EventSource comes back after a refused connection, but not after a
// 503, which a balancer may answer for it. A handler that ends its stream can send a
// retry field that lasts until the deadline of the Stopping context.
//
// For HTTP/2 without TLS, set HTTP.Protocols. The older h2c.NewHandler of
// golang.org/x/net hides its requests: the Server does not count, refuse or wait
// for them, unless [Server.Handler] wraps the handler inside it.
//
// Only HTTP must be set. A Server serves once and must not be copied.
type Server struct {
	// HTTP is the server to run. Serve wraps its Handler, ConnState and
	// ConnContext. With certificates in its TLSConfig it serves TLS and HTTP/2.
	HTTP *http.Server

	// Settle is the quiet period: the server stops accepting once no request has
	// arrived for this long. Set it to check interval × (failure threshold + 1) of
	// whatever checks readiness. 0 means that nothing checks it: the server stops
	// accepting at once, as http.Server.Shutdown does.
	Settle time.Duration

	// Window bounds the settling if requests go on arriving. 0 means three times
	// Settle. Half of the step's time is the most it can be.
	Window time.Duration

	// RetryAfter is how long a refused client should wait at least. Up to as much
	// again is added by chance, so that clients do not come back in one instant.
	// It counts in whole seconds; 0 means 1 s.
	RetryAfter time.Duration

	// Exempt reports which requests are neither counted nor refused. The step does
	// not wait for a connection that one hijacks. Nil means the paths of probes:
	// /healthz, /livez, /readyz, /metrics.
	Exempt func(*http.Request) bool

	// Name names a request, and the connection that it hijacks, in errors and
	// in Gate.Cut. Nil means its method and path.
	Name func(*http.Request) string

	// Gate admits the requests. Set it to share it with other work or to read
	// Gate.Cut. Nil means a gate of the server's own.
	Gate *Gate

	setup     sync.Once
	wrapped   sync.Once
	own       Gate
	born      time.Time                // when setup ran
	latest    atomic.Int64             // how long after that the latest request arrived
	accepting atomic.Pointer[listener] // while Serve runs
	down      atomic.Bool              // http.Server was asked to shut down: its hooks run once
	ended     event                    // Stop has ended before its time was over, or Kill has ended
	closing   closing
	tracker   tracker
}

var errNoHTTP = errors.New("drain: Server.HTTP: nil; set the http.Server to run")

// ListenAndServe listens on HTTP.Addr and serves. It fits lifecycle.Group.Go. It
// returns nil once the Step has ended. If ctx ends before the Step, it closes all
// connections and returns ctx's cause.
//
// If systemd has passed a socket that listens on HTTP.Addr (a unit of type .socket;
// for a unix socket Addr is the path), ListenAndServe serves that one, and no
// connection is refused across a restart. The Step then does not settle but stops
// accepting at once: new connections, probes too, wait in the kernel for the next
// instance. Settle and Window have no meaning.
//
// A server takes one socket; several servers of a process take each its own. The
// first call takes systemd's variables out of the environment, so that child
// processes do not take the sockets for theirs.
func (s *Server) ListenAndServe(ctx context.Context) error {
	if s.HTTP == nil {
		return errNoHTTP
	}
	l, err := s.listen(ctx)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		s.setup.Do(s.prepare)
		g := s.gate()
		g.shut(ctx)
		s.closing.cut(g, context.Cause(ctx))
		s.close()
		s.ended.happen()
	})
	err = s.serve(l)
	if !stop() {
		<-done
		if errors.Is(err, http.ErrServerClosed) { // not by the Step
			return context.Cause(ctx)
		}
	}
	return err
}

func (s *Server) listen(ctx context.Context) (*listener, error) {
	addr := s.HTTP.Addr
	if addr == "" {
		addr = ":http"
	}
	if passed := activated(addr); passed != nil {
		l := newListener(passed, &s.tracker)
		l.kept = passed
		return l, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return newListener(l, &s.tracker), nil
}

// Serve serves the connections that l accepts, and closes l. It returns nil once
// the Step has ended, and an error if something else has stopped it. To count
// hijacked connections it must see the plain ones: for TLS set HTTP.TLSConfig
// rather than pass a listener of crypto/tls. Hooks and hijackers get a wrapper that
// can do what a *net.TCPConn or *net.UnixConn can.
func (s *Server) Serve(l net.Listener) error {
	if s.HTTP == nil {
		l.Close()
		return errNoHTTP
	}
	return s.serve(newListener(l, &s.tracker))
}

func (s *Server) serve(l *listener) error {
	defer l.Close() // http.Server.ServeTLS does not always
	s.setup.Do(s.prepare)
	s.wrapped.Do(s.wrap)
	s.accepting.Store(l)
	defer s.accepting.CompareAndSwap(l, nil)
	var err error
	if c := s.HTTP.TLSConfig; c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil) {
		err = s.HTTP.ServeTLS(l, "", "")
	} else {
		err = s.HTTP.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) && s.down.Load() {
		<-s.ended.c
		return nil
	}
	return err
}

func (s *Server) prepare() { s.born, s.ended = time.Now(), newEvent() }

// Step returns the server's step of a plan. It is named "http"; give the
// second server of a phase another name.
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
	if !s.tracker.empty(ctx) { // sooner than Shutdown, which polls twice a second
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

// sendAway makes clients and balancers go elsewhere, in the order that Server
// documents, while all requests are still served.
func (s *Server) sendAway(ctx context.Context) {
	l, begin := s.accepting.Load(), time.Now()
	if s.down.Load() || l == nil && s.HTTP != nil { // it does not serve
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
	if ctx.Err() != nil { // Kill may be closing the listener with net/http's lock held
		return
	}
	s.tracker.closeIdle()
	s.HTTP.SetKeepAlivesEnabled(false) // closes the other idle ones, but not HTTP/2: Shutdown sends GOAWAY there
}

// kill names who is within before it closes their connections, upon which they
// leave. It waits for that, as the next phase may close what they use. It does
// not wait for a Stop under way, which net/http may hold up.
func (s *Server) kill() {
	s.setup.Do(s.prepare)
	g := s.gate()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.shutdown(ended) // for its hooks
	s.closing.kill(g)
	s.close()
	s.closing.wait(g.idle)
	s.ended.happen()
}

// shutdown begins http.Server's Shutdown, and so its hooks, unless that was done.
// The goroutine ends soon after ctx, or when the listeners are closed.
func (s *Server) shutdown(ctx context.Context) <-chan error {
	down := make(chan error, 1)
	if s.HTTP == nil || s.down.Swap(true) {
		down <- nil
		return down
	}
	go func() { down <- s.HTTP.Shutdown(ctx) }()
	return down
}

// close closes the listeners and all connections: first those that net/http
// does not know, and TLS ones without a goodbye that could block. It does not wait
// long for a listener whose Close or Accept does not return, as net/http does.
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

// rested reports whether the step has stopped accepting.
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
			if ctx.Done() == nil { // else it would have to be told of the connection's end
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
