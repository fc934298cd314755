package drain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// A Server runs an http.Server and stops it in the right order. Its Step
//
//	settles: serves on until the load balancer has noticed that readiness failed,
//	  with Connection: close, so that kept HTTP/1 connections move elsewhere
//	refuses new requests with 503, Retry-After and Connection: close
//	announces the stop to streams, whose [Stopping] contexts end one by one
//	waits for every request it admitted and every hijacked connection
//	shuts the http.Server down
//
// and, where its time is over, ends the contexts of the requests within, closes
// all connections, the silent and the hijacked ones too, and waits a moment for
// the handlers to return. A request that was admitted is not cut before that.
//
// A browser's EventSource does not come back after a 503. A handler that ends
// its stream can send a retry field that lasts until the deadline of the
// Stopping context.
//
// Only HTTP must be set. A Server serves once and must not be copied.
type Server struct {
	// HTTP is the server to run. Serve wraps its Handler, ConnState and
	// ConnContext. With certificates in its TLSConfig it serves TLS and HTTP/2.
	HTTP *http.Server

	// Settle is how long no request must have come before the server refuses:
	// longer than the load balancer takes to notice, which is the interval of
	// its checks times the failures in a row that it wants. Add an interval; so
	// it is twice the interval at least. 0 means that nobody needs to notice.
	Settle time.Duration

	// Window bounds the settling under traffic that does not cease. 0 means
	// three times Settle. Half of the step's time is the most it can be.
	Window time.Duration

	// RetryAfter is what a refused client is told to wait at least; up to as
	// much again is added by chance, so that clients do not come back in one
	// instant. It counts in whole seconds; 0 means 1 s.
	RetryAfter time.Duration

	// Exempt says which requests are neither counted nor refused. A connection
	// that one hijacks is not waited for; its answer should be a short one, as
	// the end of http.Server.Shutdown waits for that. Nil means the paths of
	// probes: /healthz, /livez, /readyz, /metrics.
	Exempt func(*http.Request) bool

	// Name names a request, and the connection that it hijacks, in errors and
	// in Gate.Cut. Nil means its method and path.
	Name func(*http.Request) string

	// Gate admits the requests. Set it to share it with other work or to read
	// Gate.Cut. Nil means a gate of the server's own.
	Gate *Gate

	setup      sync.Once
	next       http.Handler
	own        Gate
	born       time.Time              // when Serve was called
	latest     atomic.Int64           // how long after that the latest request came
	serving    atomic.Bool            // Serve runs
	socket     atomic.Pointer[socket] // where systemd passed it
	stopped    atomic.Bool            // the step has begun to close
	latestStop atomic.Pointer[stopping]
	lost       loss
	tracker    tracker
}

var errNoHTTP = errors.New("drain: Server.HTTP: nil; set the http.Server to run")

// ListenAndServe listens on HTTP.Addr and serves. It fits lifecycle.Group.Go:
// it returns nil once the Step has stopped it. Where ctx ends before that it
// closes all connections and returns ctx's cause.
//
// Where systemd has passed a socket that listens on HTTP.Addr (a unit of type
// .socket; for a unix one Addr is the path), it serves that one, and no
// connection is refused across a restart: the Step does not settle but stops
// accepting at once, so that new connections wait in the kernel for the next
// instance, probes too. It serves those that it has accepted, where they ask
// within a second, and only then refuses. Settle and Window have no meaning
// there. A server takes one socket; several servers of a process take each its
// own. The first call takes systemd's variables out of the environment, so that
// children do not take the sockets for theirs.
func (s *Server) ListenAndServe(ctx context.Context) error {
	if s.HTTP == nil {
		return errNoHTTP
	}
	addr := s.HTTP.Addr
	if addr == "" {
		addr = ":http"
	}
	l, err := s.listen(ctx, addr)
	if err != nil {
		return err
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		g := s.gate()
		g.shut(ctx)
		s.lost.cut(g, context.Cause(ctx))
		s.close()
	})
	err = s.Serve(l)
	if !stop() {
		<-cut
		if !s.stopped.Load() {
			return context.Cause(ctx)
		}
	}
	return err
}

func (s *Server) listen(ctx context.Context, addr string) (net.Listener, error) {
	if l := activated(addr); l != nil {
		s.socket.Store(l)
		return l, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return l, err
}

// Serve serves the connections that l accepts, and closes l. It returns nil
// once the Step has stopped it, and else an error. To count hijacked
// connections it must see the plain ones: for TLS set HTTP.TLSConfig rather
// than passing a listener of crypto/tls. Hooks and hijackers get a wrapper that
// can do what a *net.TCPConn or *net.UnixConn can.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close() // http.Server.ServeTLS does not always
	if s.HTTP == nil {
		return errNoHTTP
	}
	s.setup.Do(s.wrap)
	s.serving.Store(true)
	defer s.serving.Store(false)
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

// Step returns the server's step of a plan. It is named "http"; give the
// second server of a phase another name.
func (s *Server) Step() Step { return Step{Name: "http", Stop: s.stop, Kill: s.kill} }

// A stopping is a call of Stop.
type stopping struct {
	ctx   context.Context
	grace time.Duration // half of the time that a plan keeps for Kill then
}

// moment is what Kill waits where nobody knows how long it may: a stop was forced
// before Stop began, say.
const moment = 100 * time.Millisecond

func (s *Server) stop(ctx context.Context) error {
	if s.HTTP == nil {
		return errNoHTTP
	}
	st := &stopping{ctx: ctx, grace: moment}
	if d, ok := ctx.Deadline(); ok {
		st.grace = min(time.Until(d)/20, time.Second/2)
	}
	s.latestStop.Store(st)
	g := s.gate()
	if s.serving.Load() && !s.stopped.Load() {
		if l := s.socket.Load(); l != nil {
			s.vacate(ctx, l)
		} else {
			s.settle(ctx)
		}
	}
	g.shut(ctx)
	// Not SetKeepAlivesEnabled(false), which vacate calls after a quiet moment: it
	// closes idle connections at once, and requests that are on their way get a
	// reset rather than a 503.
	wire.Count(ctx, g, g.within)
	announce(ctx, g)
	var late error
	select {
	case <-g.idle:
	case <-ctx.Done():
		late = context.Cause(ctx)
	}
	lost := s.lost.cut(g, late)
	if lost != nil && late != nil {
		return lost
	}
	s.stopped.Store(true)
	s.tracker.closeNew()
	err := s.HTTP.Shutdown(ctx)
	if lost != nil { // by another Stop, or by Kill
		return lost
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("drain: answers not sent yet: %w", context.Cause(ctx))
	}
	return err
}

var errKilled = fmt.Errorf("drain: the server was killed: %w", context.Canceled)

// kill names who is within before it closes their connections, upon which they
// leave. It waits for that, as the next phase may close what they use. It does
// not wait for a Stop under way, which net/http may hold up.
func (s *Server) kill() {
	g, why, grace := s.gate(), errKilled, moment
	if st := s.latestStop.Load(); st != nil {
		grace = st.grace
		if st.ctx.Err() != nil {
			why = context.Cause(st.ctx)
		}
	}
	g.shut(context.Background())
	s.lost.cut(g, why)
	s.stopped.Store(true)
	s.close()
	select {
	case <-g.idle:
	case <-time.After(grace):
	}
}

// close closes the listeners and all connections: first those that net/http
// does not know, and TLS ones without a goodbye that could block.
func (s *Server) close() {
	s.tracker.closeAll()
	if s.HTTP != nil {
		s.HTTP.Close()
	}
}

// streamsPerSecond is the least rate at which streams are told to end: a few
// of them need not be spread over the whole of a long drain.
const streamsPerSecond = 200

// announce ends the Stopping contexts of those within, oldest first, at
// an even rate over half of what remains, so that the clients do not all
// reconnect in one instant.
func announce(ctx context.Context, g *Gate) {
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

// wrap puts the gate before the handler.
func (s *Server) wrap() {
	s.born = time.Now()
	if s.next = s.HTTP.Handler; s.next == nil {
		s.next = http.DefaultServeMux
	}
	s.HTTP.Handler = http.HandlerFunc(s.serve)
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
				ctx, own.cut = context.WithCancelCause(ctx)
			}
			ctx = context.WithValue(ctx, connKey{}, own)
		}
		if onConn != nil {
			ctx = onConn(ctx, c)
		}
		return ctx
	}
}

var probes = []string{"/healthz", "/livez", "/readyz", "/metrics"}

func (s *Server) exempt(r *http.Request) bool {
	if s.Exempt != nil {
		return s.Exempt(r)
	}
	return slices.Contains(probes, r.URL.Path)
}

func (s *Server) name(r *http.Request) string {
	if s.Name != nil {
		return s.Name(r)
	}
	return r.Method + " " + r.URL.Path
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.exempt(r) {
		s.next.ServeHTTP(w, r)
		return
	}
	c, _ := r.Context().Value(connKey{}).(*conn)
	v := &visit{entry: entry{name: s.name(r)}}
	if c != nil {
		v.cut = c.cut
	}
	if !s.gate().join(r.Context(), &v.entry) {
		s.refuse(w)
		return
	}
	s.latest.Store(int64(v.since.Sub(s.born)))
	v.holders.Store(1)
	defer v.end()
	// In HTTP/2 that is GOAWAY, which turns away what is on its way: only where the
	// next instance will take it.
	if (r.ProtoMajor == 1 || s.socket.Load() != nil) && s.latestStop.Load() != nil && r.Header.Get("Upgrade") == "" {
		w.Header().Set("Connection", "close")
	}
	if c != nil && r.ProtoMajor == 1 {
		c.visit = v
		defer func() { c.visit = nil }()
	}
	s.next.ServeHTTP(w, r.WithContext(&v.entry))
}

func (s *Server) refuse(w http.ResponseWriter) {
	wait := max(s.RetryAfter, time.Second)
	least := (wait + time.Second - 1) / time.Second
	more := rand.N(wait/time.Second + 1) // whole seconds: a fraction would be rounded up to the same one for all
	h := w.Header()
	h.Set("Retry-After", strconv.Itoa(int(least+more)))
	h.Set("Connection", "close")
	http.Error(w, "stopping", http.StatusServiceUnavailable)
}
