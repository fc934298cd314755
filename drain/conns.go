package drain

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
)

// A tracker knows the connections that an http.Server forgets: those that sent
// nothing yet, which hold up its Shutdown for 5 s, and the hijacked ones, for
// which it does not wait.
type tracker struct {
	gate *Gate

	mu       sync.Mutex
	fresh    map[net.Conn]struct{} // connected, no byte of a request yet
	hijacked map[*conn]net.Conn
	closing  bool // fresh connections are closed as they come
}

func (t *tracker) changed(c net.Conn, state http.ConnState) {
	if t.note(c, state) {
		c.Close()
	}
}

// note reports whether the connection comes too late.
func (t *tracker) note(c net.Conn, state http.ConnState) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case http.StateNew:
		if t.closing {
			return true
		}
		if t.fresh == nil {
			t.fresh = make(map[net.Conn]struct{})
		}
		t.fresh[c] = struct{}{}
	case http.StateHijacked:
		delete(t.fresh, c)
		plain := c
		if tc, ok := c.(*tls.Conn); ok {
			plain = tc.NetConn()
		}
		if p, ok := plain.(interface{ tracked() *conn }); ok {
			t.hold(p.tracked(), c)
		}
	default:
		delete(t.fresh, c)
	}
	return false
}

// hold counts a hijacked connection until its Close. The handler that hijacks
// is within the gate, so it may be passed although it is shut.
func (t *tracker) hold(c *conn, outer net.Conn) {
	t.gate.word.Add(2)
	c.entry = &entry{Context: context.Background(), gate: t.gate, name: "hijacked " + outer.RemoteAddr().String()}
	t.gate.add(c.entry)
	if t.hijacked == nil {
		t.hijacked = make(map[*conn]net.Conn)
	}
	t.hijacked[c] = outer
}

func (t *tracker) closed(c *conn) {
	t.mu.Lock()
	_, held := t.hijacked[c]
	delete(t.hijacked, c)
	t.mu.Unlock()
	if held {
		t.gate.remove(c.entry)
		t.gate.Leave()
	}
}

// closeNew closes the connections that sent nothing, now and from now on.
func (t *tracker) closeNew() {
	t.mu.Lock()
	t.closing = true
	cs := slices.Collect(maps.Keys(t.fresh))
	t.mu.Unlock()
	closeEach(cs)
}

func (t *tracker) closeHijacked() {
	t.mu.Lock()
	cs := slices.Collect(maps.Values(t.hijacked))
	t.mu.Unlock()
	closeEach(cs)
}

// closeEach must not hold the tracker's lock: a connection's Close takes it.
func closeEach(cs []net.Conn) {
	for _, c := range cs {
		c.Close()
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
	case *tls.Conn: // http.Server looks for this very type
		return c, err
	default:
		return &otherConn{c, conn{tracker: l.tracker}}, err
	}
}

// conn is what our connections add to those of the listener.
type conn struct {
	tracker *tracker
	entry   *entry // made when the connection is hijacked
}

func (c *conn) tracked() *conn { return c }

// A tcpConn keeps all that a TCP connection can do, such as sendfile.
type tcpConn struct {
	*net.TCPConn
	conn
}

func (c *tcpConn) Close() error {
	c.tracker.closed(&c.conn)
	return c.TCPConn.Close()
}

type otherConn struct {
	net.Conn
	conn
}

func (c *otherConn) Close() error {
	c.tracker.closed(&c.conn)
	return c.Conn.Close()
}
