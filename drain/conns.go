package drain

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A tracker knows the connections that http.Server does not handle at the stop: those
// that have sent nothing yet, which hold up its Shutdown for 5 s, and hijacked ones,
// for which it does not wait.
type tracker struct {
	mu        sync.Mutex
	open      map[net.Conn]http.ConnState // the open ones; exact for a conn only if new or hijacked, see current
	http      int                         // how many of these http.Server has: all but the hijacked ones
	turnsAway bool                        // new connections are closed as they arrive
	gone      event                       // made with turnsAway: http.Server has none left
}

func (t *tracker) changed(c net.Conn, state http.ConnState) {
	own := tracked(c)
	if own != nil {
		before := http.ConnState(own.state.Swap(int32(state)))
		if state == http.StateIdle || state == http.StateClosed {
			own.answered()
		}
		if before != http.StateNew && (state == http.StateActive || state == http.StateIdle) {
			return // this happens twice for each request: too often to take the lock
		}
	}
	if !t.note(c, own, state) {
		c.Close()
	}
}

// note records a new state. It reports whether the connection may stay.
func (t *tracker) note(c net.Conn, own *conn, state http.ConnState) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, known := t.open[c]
	switch {
	case state == http.StateNew && t.turnsAway:
		return false
	case state == http.StateClosed, state == http.StateHijacked:
		if known && before != http.StateHijacked {
			t.leftLocked()
		}
		if state == http.StateHijacked && own != nil {
			t.open[c] = state
			own.hijackedLocked(c)
		} else { // a hijacked one that is not ours: its Close is not seen
			delete(t.open, c)
		}
		return true
	case !known && state != http.StateNew: // it was turned away when new
		return true
	case !known:
		t.http++
	}
	if t.open == nil {
		t.open = make(map[net.Conn]http.ConnState)
	}
	t.open[c] = state
	return true
}

func (t *tracker) leftLocked() {
	if t.http--; t.http == 0 && t.turnsAway {
		t.gone.happen()
	}
}

// current returns the state of an open connection. noted is what open has.
func current(c net.Conn, noted http.ConnState) http.ConnState {
	if own := tracked(c); own != nil && noted != http.StateHijacked {
		return http.ConnState(own.state.Load())
	}
	return noted
}

// counts returns how many connections http.Server has, and how many connections have
// sent nothing yet.
func (t *tracker) counts() (all, silent int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c, noted := range t.open {
		if current(c, noted) == http.StateNew {
			silent++
		}
	}
	return t.http, silent
}

// closeNew closes the connections that have sent nothing, now and as they arrive. gone
// is closed once http.Server has no connection left.
func (t *tracker) closeNew() (gone <-chan struct{}) {
	t.mu.Lock()
	if !t.turnsAway {
		t.turnsAway, t.gone = true, newEvent()
	}
	if t.http == 0 {
		t.gone.happen()
	}
	gone = t.gone.Done()
	t.mu.Unlock()
	t.close(func(_ net.Conn, s http.ConnState) bool { return s == http.StateNew })
	return gone
}

// closeIdle closes idle TLS connections of HTTP/1 without TLS's goodbye, for which
// http.Server would wait under its lock. HTTP/2 is left to http.Server: a client
// repeats a request that is on its way only after GOAWAY.
func (t *tracker) closeIdle() {
	t.close(func(c net.Conn, s http.ConnState) bool {
		tc, ok := c.(*tls.Conn)
		return ok && s == http.StateIdle && tc.ConnectionState().NegotiatedProtocol != "h2"
	})
}

// farewell is longer than the second for which net/http keeps an HTTP/2 connection open
// after GOAWAY, so that the client can read it.
const farewell = 1200 * time.Millisecond

// empty waits until http.Server has no connection left. It reports false if ctx ends
// first. It closes new connections at once, and idle ones after each farewell:
// net/http forgets those that turn to HTTP/2 after Shutdown sent GOAWAY to the others
// (golang/go#81153).
func (t *tracker) empty(ctx context.Context) bool {
	gone := t.closeNew()
	for {
		select {
		case <-gone:
			return true
		case <-time.After(farewell):
			t.close(func(_ net.Conn, s http.ConnState) bool { return s == http.StateIdle })
		case <-ctx.Done():
			return false
		}
	}
}

// closeAll closes all connections, and new ones as they arrive.
func (t *tracker) closeAll() {
	t.closeNew()
	t.close(func(net.Conn, http.ConnState) bool { return true })
}

// close closes the plain connections, since TLS's goodbye may block for 5 s. It does
// not hold the lock, which Close takes.
func (t *tracker) close(which func(net.Conn, http.ConnState) bool) {
	t.mu.Lock()
	var cs []net.Conn
	for c, noted := range t.open {
		if which(c, current(c, noted)) {
			cs = append(cs, c)
		}
	}
	t.mu.Unlock()
	for _, c := range cs {
		plain(c).Close()
	}
}

// A visit is a request's stay within the gate. If the request hijacks its connection,
// the visit lasts until that is closed.
type visit struct {
	entry
	others atomic.Int32 // how many hold the visit, beside the first
}

func (v *visit) end() {
	if v.others.Add(-1) < 0 {
		v.leave()
	}
}

// wrap lets the tracker know when c is closed.
func (t *tracker) wrap(c net.Conn) net.Conn {
	switch c := c.(type) {
	case *net.TCPConn:
		return &tcpConn{c, conn{tracker: t}}
	case *net.UnixConn:
		return &unixConn{c, conn{tracker: t}}
	case interface{ ConnectionState() tls.ConnectionState }: // http.Server must see its type
		return c.(net.Conn)
	default:
		return &otherConn{c, conn{tracker: t}}
	}
}

// A conn is what we add to a connection of the listener.
type conn struct {
	tracker *tracker
	cancel  context.CancelCauseFunc // ends the contexts of its requests; nil if each has its own cancel
	state   atomic.Int32            // its latest http.ConnState
	visit   *visit                  // of the HTTP/1 request under way; nil if it is exempt

	// Of the HTTP/1 request whose handler has returned: what still records it; slot is 0
	// if nothing does. Used by its goroutine only, as visit is.
	recorder Recorder
	slot     uint32

	// Guarded by tracker.mu, for a hijacked connection until its Close:
	outer net.Conn // as http.Server knows it
	held  *visit
}

type connKey struct{}

func (c *conn) tracked() *conn { return c }

// handled ends the stay of v at c. http.Server writes the last part of the answer only
// now. If the process died before, the client would be cut, so v stays recorded.
func (c *conn) handled(v *visit) {
	c.visit = nil
	if v.slot != 0 && http.ConnState(c.state.Load()) != http.StateHijacked {
		c.recorder, c.slot, v.slot = v.gate.Recorder, v.slot, 0
	}
}

// answered is called when http.Server has written the answer, or has given up.
func (c *conn) answered() {
	if c.slot != 0 {
		c.recorder.Leave(c.slot)
		c.slot = 0
	}
}

func plain(c net.Conn) net.Conn {
	if tc, ok := c.(*tls.Conn); ok {
		return tc.NetConn()
	}
	return c
}

// tracked returns the conn of c, or nil.
func tracked(c net.Conn) *conn {
	if own, ok := plain(c).(interface{ tracked() *conn }); ok {
		return own.tracked()
	}
	return nil
}

// hijackedLocked holds the visit for the hijacked connection. It is called within the
// visit, which has not ended yet.
func (c *conn) hijackedLocked(outer net.Conn) {
	c.outer, c.held = outer, c.visit
	if c.held != nil {
		c.held.others.Add(1)
	}
}

// closed ends the visit that c holds. It is called after each Close of c.
func (c *conn) closed() {
	c.tracker.mu.Lock()
	delete(c.tracker.open, c.outer)
	v := c.held
	c.held = nil
	c.tracker.mu.Unlock()
	if v != nil {
		v.end()
	}
}

// A tcpConn can do all that a TCP connection can, such as sendfile.
type tcpConn struct {
	*net.TCPConn
	conn
}

func (c *tcpConn) Close() error {
	defer c.closed()
	return c.TCPConn.Close()
}

// A unixConn can be half closed, so that a refusal reaches the client.
type unixConn struct {
	*net.UnixConn
	conn
}

func (c *unixConn) Close() error {
	defer c.closed()
	return c.UnixConn.Close()
}

type otherConn struct {
	net.Conn
	conn
}

func (c *otherConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}
