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

// A tracker knows the connections that an http.Server forgets: those that have sent
// nothing yet, which hold up its Shutdown for 5 s, and the hijacked ones, for
// which it does not wait.
type tracker struct {
	mu        sync.Mutex
	open      map[net.Conn]http.ConnState // without the closed ones; of a conn only whether it is new or hijacked
	http      int                         // how many of these are http.Server's, so not hijacked
	turnsAway bool                        // new connections are closed as they arrive
	gone      event                       // made with turnsAway: http.Server has none left
}

func (t *tracker) changed(c net.Conn, state http.ConnState) {
	own := tracked(c)
	if own != nil {
		before := http.ConnState(own.state.Swap(int32(state)))
		if before != http.StateNew && (state == http.StateActive || state == http.StateIdle) {
			return // twice a request; the tracker's lock would be too much
		}
	}
	if !t.note(c, own, state) {
		c.Close()
	}
}

// note reports whether the connection may stay.
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
		} else { // the Close of one that is not ours is not seen
			delete(t.open, c)
		}
		return true
	case !known && state != http.StateNew: // it was turned away
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

// current returns the state of an open connection.
func current(c net.Conn, noted http.ConnState) http.ConnState {
	if own := tracked(c); own != nil && noted != http.StateHijacked {
		return http.ConnState(own.state.Load())
	}
	return noted
}

// counts returns how many connections http.Server has, and how many of these have
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

// closeNew closes the connections that sent nothing, as those will that are still
// to arrive. The channel is closed once http.Server has no connection left.
func (t *tracker) closeNew() (gone <-chan struct{}) {
	t.mu.Lock()
	if !t.turnsAway {
		t.turnsAway, t.gone = true, newEvent()
	}
	if t.http == 0 {
		t.gone.happen()
	}
	gone = t.gone.c
	t.mu.Unlock()
	t.close(func(_ net.Conn, s http.ConnState) bool { return s == http.StateNew })
	return gone
}

// closeIdle closes the TLS connections that wait for a request, without the goodbye
// that http.Server waits for under its lock. It leaves HTTP/2 to http.Server: only
// after GOAWAY does a client repeat a request that is on its way.
func (t *tracker) closeIdle() {
	t.close(func(c net.Conn, s http.ConnState) bool {
		tc, ok := c.(*tls.Conn)
		return ok && s == http.StateIdle && tc.ConnectionState().NegotiatedProtocol != "h2"
	})
}

// farewell is longer than the second that net/http keeps an HTTP/2 connection open
// after GOAWAY, so that the client can read it.
const farewell = 1200 * time.Millisecond

// empty waits until http.Server has no connection left, and reports whether that
// was before ctx ended. It closes the new ones at once, and idle ones after a
// farewell, since net/http forgets those that turn to HTTP/2 after Shutdown said
// GOAWAY to the others (golang/go#81153).
func (t *tracker) empty(ctx context.Context) bool {
	gone := t.closeNew()
	again := time.NewTicker(farewell)
	defer again.Stop()
	for {
		select {
		case <-gone:
			return true
		case <-again.C:
			t.close(func(_ net.Conn, s http.ConnState) bool { return s == http.StateIdle })
		case <-ctx.Done():
			return false
		}
	}
}

// closeAll closes all connections, those too that are still to arrive.
func (t *tracker) closeAll() {
	t.closeNew()
	t.close(func(net.Conn, http.ConnState) bool { return true })
}

// close closes the plain connections, as the goodbye of a TLS one may block for
// 5 s. It does so without the lock, which Close takes.
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

// A visit is a request's stay within the gate. It lasts until the connection that
// the request hijacks is closed, if it does.
type visit struct {
	entry
	holders atomic.Int32
}

func (v *visit) end() {
	if v.holders.Add(-1) == 0 {
		v.leave()
	}
}

// wrap makes Close of a connection known to the tracker.
func (t *tracker) wrap(c net.Conn) net.Conn {
	switch c := c.(type) {
	case *net.TCPConn:
		return &tcpConn{c, conn{tracker: t}}
	case *net.UnixConn:
		return &unixConn{c, conn{tracker: t}}
	case interface{ ConnectionState() tls.ConnectionState }: // http.Server must see what this is
		return c.(net.Conn)
	default:
		return &otherConn{c, conn{tracker: t}}
	}
}

// conn is what our connections add to those of the listener.
type conn struct {
	tracker *tracker
	cancel  context.CancelCauseFunc // ends its requests' contexts; nil if each has an end of its own
	state   atomic.Int32            // its latest http.ConnState
	visit   *visit                  // of the HTTP/1 request under way; nil if it is exempt

	// Guarded by tracker.mu, for a hijacked connection until its Close:
	outer net.Conn // as http.Server knows it
	held  *visit
}

type connKey struct{}

func (c *conn) tracked() *conn { return c }

func plain(c net.Conn) net.Conn {
	if tc, ok := c.(*tls.Conn); ok {
		return tc.NetConn()
	}
	return c
}

// tracked returns what is ours of a connection, or nil.
func tracked(c net.Conn) *conn {
	if own, ok := plain(c).(interface{ tracked() *conn }); ok {
		return own.tracked()
	}
	return nil
}

// hijackedLocked is called within the visit, so its count is not zero yet.
func (c *conn) hijackedLocked(outer net.Conn) {
	c.outer, c.held = outer, c.visit
	if c.held != nil {
		c.held.holders.Add(1)
	}
}

// closed is called before each Close of the connection.
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

// A tcpConn keeps all that a TCP connection can do, such as sendfile.
type tcpConn struct {
	*net.TCPConn
	conn
}

func (c *tcpConn) Close() error {
	c.closed()
	return c.TCPConn.Close()
}

// A unixConn can still be closed one way, so that a refusal gets through.
type unixConn struct {
	*net.UnixConn
	conn
}

func (c *unixConn) Close() error {
	c.closed()
	return c.UnixConn.Close()
}

type otherConn struct {
	net.Conn
	conn
}

func (c *otherConn) Close() error {
	c.closed()
	return c.Conn.Close()
}
