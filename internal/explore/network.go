package explore

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A network joins clients to one server, in memory. It is the server's listener. Each
// message arrives a fixed time after it was sent, which its sender sets, so a run takes
// the same course in time whenever it is repeated.
type network struct {
	backlog chan *conn
	closing sync.Once
	closed  chan struct{}

	mu     sync.Mutex
	events map[time.Duration]bool // when something happened, since begin
	begin  time.Time
	open   map[*conn]bool // the server's ends
}

func newNetwork() *network {
	return &network{
		backlog: make(chan *conn, 64), closed: make(chan struct{}),
		events: map[time.Duration]bool{}, begin: time.Now(), open: map[*conn]bool{},
	}
}

// note records that something happens after a while.
func (n *network) note(after time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events[time.Since(n.begin)+after] = true
}

// dial connects a client whose messages, and those to it, take latency. As with a
// kernel, it succeeds before the server accepts.
func (n *network) dial(ctx context.Context, latency time.Duration) (net.Conn, error) {
	n.note(0)
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	n.note(0)
	up, down := newQueue(), newQueue()
	client := &conn{net: n, latency: latency, in: down, out: up, read: newDeadline(), write: newDeadline()}
	server := &conn{net: n, latency: latency, in: up, out: down, read: newDeadline(), write: newDeadline(), served: true}
	n.mu.Lock()
	defer n.mu.Unlock()
	if closed(n.closed) {
		return nil, syscall.ECONNREFUSED
	}
	n.backlog <- server // has room for all clients
	n.open[server] = true
	return client, nil
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.backlog:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close refuses further clients, and resets those that were not accepted yet.
func (n *network) Close() error {
	n.closing.Do(func() {
		n.mu.Lock()
		close(n.closed)
		n.mu.Unlock()
		for {
			select {
			case c := <-n.backlog:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (n *network) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// left returns how many connections the server has not closed.
func (n *network) left() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.open)
}

// A queue carries messages one way.
type queue struct {
	messages chan message
	ended    chan struct{} // closed when the sender has closed
	end      sync.Once
	broken   chan struct{} // closed when the receiver has
	breaking sync.Once
}

type message struct {
	at   time.Time
	data []byte
}

func newQueue() *queue {
	return &queue{messages: make(chan message, 32), ended: make(chan struct{}), broken: make(chan struct{})}
}

// A conn is one end of a connection.
type conn struct {
	net         *network
	latency     time.Duration
	in, out     *queue
	read, write *deadline
	served      bool // the server's end

	next message // taken from in, not read to its end; net/http reads in one goroutine at a time
}

func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(c.next.data) == 0 {
		if err := c.receive(); err != nil {
			return 0, err
		}
	}
	if err := c.pass(time.Until(c.next.at)); err != nil {
		return 0, err
	}
	n := copy(b, c.next.data)
	c.next.data = c.next.data[n:]
	return n, nil
}

func (c *conn) receive() (err error) {
	select {
	case c.next = <-c.in.messages:
		return nil
	default:
	}
	select {
	case c.next = <-c.in.messages:
	case <-c.read.over():
		err = os.ErrDeadlineExceeded
	case <-c.in.broken:
		err = net.ErrClosed
	case <-c.in.ended:
		select {
		case c.next = <-c.in.messages: // sent before the end
		default:
			if err = c.pass(c.latency); err == nil {
				err = io.EOF
			}
		}
	}
	return err
}

// pass waits while a message is on its way.
func (c *conn) pass(wait time.Duration) error {
	select {
	case <-c.read.over():
		return os.ErrDeadlineExceeded
	case <-c.in.broken:
		return net.ErrClosed
	case <-time.After(wait):
		return nil
	}
}

func (c *conn) Write(b []byte) (int, error) {
	c.net.note(0)
	c.net.note(c.latency)
	m := message{at: time.Now().Add(c.latency), data: append([]byte(nil), b...)}
	select {
	case <-c.out.ended:
		return 0, net.ErrClosed
	case <-c.out.broken:
		return 0, syscall.ECONNRESET
	case <-c.write.over():
		return 0, os.ErrDeadlineExceeded
	default:
	}
	select {
	case c.out.messages <- m:
		return len(b), nil
	case <-c.out.ended:
		return 0, net.ErrClosed
	case <-c.out.broken:
		return 0, syscall.ECONNRESET
	case <-c.write.over():
		return 0, os.ErrDeadlineExceeded
	}
}

func (c *conn) CloseWrite() error {
	c.net.note(0)
	c.net.note(c.latency)
	c.out.end.Do(func() { close(c.out.ended) })
	return nil
}

func (c *conn) Close() error {
	c.CloseWrite()
	c.in.breaking.Do(func() { close(c.in.broken) })
	if c.served {
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		delete(c.net.open, c)
	}
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.net.Addr() }
func (c *conn) RemoteAddr() net.Addr { return c.net.Addr() }

func (c *conn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error  { c.read.set(t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.write.set(t); return nil }

// A deadline is a channel that is closed at a time that may be set again.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	c     chan struct{}
}

func newDeadline() *deadline { return &deadline{c: make(chan struct{})} }

func (d *deadline) over() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.c
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() || d.timer == nil && closed(d.c) {
		d.c = make(chan struct{})
	}
	d.timer = nil
	if t.IsZero() {
		return
	}
	c := d.c
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { close(c) })
	} else {
		close(c)
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
