package drain

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// A tracker knows the connections that an http.Server forgets: those that sent
// nothing yet, which hold up its Shutdown for 5 s, and the hijacked ones, for
// which it does not wait.
type tracker struct {
	mu      sync.Mutex
	open    map[net.Conn]http.ConnState // their latest state; not those that are closed
	closing bool                        // new connections are closed as they come
}

func (t *tracker) changed(c net.Conn, state http.ConnState) {
	own := tracked(c)
	if state == http.StateActive || state == http.StateIdle {
		if own != nil && own.begun { // nothing new, twice a request
			return
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
	switch {
	case state == http.StateNew && t.closing:
		return false
	case state == http.StateClosed, state == http.StateHijacked && own == nil: // its Close is not seen
		delete(t.open, c)
		return true
	case state == http.StateHijacked:
		own.hijackedLocked(c)
	}
	if t.open == nil {
		t.open = make(map[net.Conn]http.ConnState)
	}
	t.open[c] = state
	if own != nil {
		own.begun = state != http.StateNew
	}
	return true
}

// close begins to close new connections as they come, and returns the open ones
// that it should close now. That is done without the lock, which Close takes.
func (t *tracker) close(should func(http.ConnState) bool) (cs []net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing = true
	for c, state := range t.open {
		if should(state) {
			cs = append(cs, c)
		}
	}
	return cs
}

// silent reports whether a connection has sent nothing yet.
func (t *tracker) silent() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, state := range t.open {
		if state == http.StateNew {
			return true
		}
	}
	return false
}

// closeNew closes the connections that sent nothing.
func (t *tracker) closeNew() {
	for _, c := range t.close(func(s http.ConnState) bool { return s == http.StateNew }) {
		c.Close()
	}
}

// closeAll closes the plain connections, as the goodbye of a TLS one may block
// for 5 s.
func (t *tracker) closeAll() {
	for _, c := range t.close(func(http.ConnState) bool { return true }) {
		plain(c).Close()
	}
}

// A visit is a request's stay within the gate. A connection that it hijacks
// prolongs it.
type visit struct {
	entry
	holders atomic.Int32
}

func (v *visit) end() {
	if v.holders.Add(-1) == 0 {
		v.leave()
	}
}

// A listener hands out connections whose Close the tracker sees.
type listener struct {
	net.Listener
	tracker *tracker
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	switch c := c.(type) {
	case nil:
		return nil, err
	case *net.TCPConn:
		return &tcpConn{c, conn{tracker: l.tracker}}, err
	case *net.UnixConn:
		return &unixConn{c, conn{tracker: l.tracker}}, err
	case interface{ ConnectionState() tls.ConnectionState }: // http.Server must see what this is
		return c.(net.Conn), err
	default:
		return &otherConn{c, conn{tracker: l.tracker}}, err
	}
}

// conn is what our connections add to those of the listener.
type conn struct {
	tracker *tracker
	cut     context.CancelCauseFunc // ends its requests' contexts; nil where each has an end of its own
	begun   bool                    // it is past StateNew; the hooks of a connection follow one another
	visit   *visit                  // of the HTTP/1 request under way; nil where it is exempt

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

// closed is called before the connection is, more than once maybe.
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
