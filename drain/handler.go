package drain

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// Handler returns next behind the server's gate: it counts and names each request,
// ends its Stopping context, refuses it once the gate is shut, and cuts its context
// at the end. Serve wraps HTTP.Handler in this way. A nil next means
// http.DefaultServeMux.
//
// Call it for requests that reach the program in another way: an HTTP/3 server, the
// handler inside h2c.NewHandler, a framework that starts its own server. HTTP may
// then be nil. The Step settles, refuses, tells and waits as for its own requests,
// but the other server's listener and connections are not its business: shut that
// server down in a step beside or after this one.
func (s *Server) Handler(next http.Handler) http.Handler {
	s.setup.Do(s.prepare)
	if next == nil {
		next = http.DefaultServeMux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handle(next, w, r) })
}

func (s *Server) handle(next http.Handler, w http.ResponseWriter, r *http.Request) {
	if s.exempt(r) || s.admitted(r) {
		next.ServeHTTP(w, r)
		return
	}
	c, _ := r.Context().Value(connKey{}).(*conn)
	v := &visit{entry: entry{name: r.Method, path: r.URL.Path}}
	if s.Name != nil {
		v.name, v.path = s.Name(r), ""
	}
	if c != nil {
		v.cancel = c.cancel
	}
	if !s.gate().join(r.Context(), &v.entry) {
		s.refuse(w, r)
		return
	}
	s.latest.Store(int64(v.since.Sub(s.born)))
	v.holders.Store(1)
	defer v.end()
	// In HTTP/2 this is GOAWAY, and the client opens a new connection: not before
	// another instance will take it.
	if s.closing.begun() && (r.ProtoMajor == 1 || s.rested()) && r.Header.Get("Upgrade") == "" {
		goAway(w, r)
	}
	if c != nil && r.ProtoMajor == 1 {
		c.visit = v
		defer func() { c.visit = nil }()
	}
	in := r.WithContext(&v.entry)
	defer func() { r.MultipartForm = in.MultipartForm }() // http.Server removes its temporary files
	next.ServeHTTP(w, in)
}

var probes = []string{"/healthz", "/livez", "/readyz", "/metrics"}

func (s *Server) exempt(r *http.Request) bool {
	if r.Method == "PRI" { // an HTTP/2 connection on its way to h2c.NewHandler, not a request
		return true
	}
	if s.Exempt != nil {
		return s.Exempt(r)
	}
	return slices.Contains(probes, r.URL.Path)
}

// admitted reports whether the request has passed the gate before.
func (s *Server) admitted(r *http.Request) bool {
	e, ok := r.Context().Value(wire.SoftKey).(*entry)
	return ok && e.gate == s.gate()
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request) {
	wait := max(s.RetryAfter, time.Second)
	least := (wait + time.Second - 1) / time.Second
	more := rand.N(wait/time.Second + 1) // whole seconds: a fraction would be rounded up to the same one for all
	w.Header().Set("Retry-After", strconv.Itoa(int(least+more)))
	goAway(w, r)
	http.Error(w, "stopping", http.StatusServiceUnavailable)
}

// goAway asks the client to close its connection, which HTTP/3 has no header for.
func goAway(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 3 {
		w.Header().Set("Connection", "close")
	}
}
