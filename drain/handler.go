package drain

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// Handler returns next behind the server's gate. The gate counts and names each
// request, ends its Stopping context at the stop, and cancels its context if it is cut.
// Once the gate is shut, requests get 503. If next is nil, it is http.DefaultServeMux.
//
// Serve does this to HTTP.Handler. Call Handler for requests that arrive another way: an
// HTTP/3 server, the handler inside h2c.NewHandler, a framework that starts its own
// server. HTTP may then be nil. The Step treats these requests as its own, but does
// not touch the other server's listener and connections: shut that server down in a
// step beside or after this one.
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
	arrived := time.Since(s.born) // reads one clock, where time.Now reads two
	v := &visit{entry: entry{name: r.Method, path: r.URL.Path, since: s.born.Add(arrived)}}
	if s.Name != nil {
		v.name, v.path = s.Name(r), ""
	}
	if s.Session != nil {
		v.session = s.Session(r)
	}
	if c != nil {
		v.cancel = c.cancel
	}
	if !s.gate().join(r.Context(), &v.entry) {
		s.refuse(w, r)
		return
	}
	s.latest.Store(int64(arrived))
	defer v.end()
	// In HTTP/2 this is GOAWAY, upon which the client opens a new connection. It must
	// not do so before another instance can take it.
	if s.closing.begun() && (r.ProtoMajor == 1 || s.rested()) && r.Header.Get("Upgrade") == "" {
		goAway(w, r)
	}
	if c != nil && r.ProtoMajor == 1 {
		c.visit = v
		defer c.handled(v)
	}
	in := r.WithContext(&v.entry)
	defer func() { r.MultipartForm = in.MultipartForm }() // http.Server removes its temporary files, from r
	next.ServeHTTP(w, in)
}

var probes = []string{"/healthz", "/livez", "/readyz", "/metrics"}

func (s *Server) exempt(r *http.Request) bool {
	if r.Method == "PRI" { // not a request: an HTTP/2 connection for h2c.NewHandler
		return true
	}
	if s.Exempt != nil {
		return s.Exempt(r)
	}
	return slices.Contains(probes, r.URL.Path)
}

// admitted reports whether the request is already within the gate.
func (s *Server) admitted(r *http.Request) bool {
	e, ok := r.Context().Value(carried.SoftKey).(*entry)
	return ok && e.gate == s.gate()
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request) {
	wait := max(s.RetryAfter, time.Second)
	least := (wait-1)/time.Second + 1
	more := rand.N(wait/time.Second + 1) // in whole seconds: rounding a fraction up would give all clients the same one
	w.Header().Set("Retry-After", strconv.FormatInt(int64(least+more), 10))
	goAway(w, r)
	http.Error(w, "stopping", http.StatusServiceUnavailable)
}

// goAway asks the client to close its connection. HTTP/3 has no header for that.
func goAway(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 3 {
		w.Header().Set("Connection", "close")
	}
}
