package drain_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A lateListener accepts what it is given, even after its Close.
type lateListener struct {
	net.Listener
	late chan net.Conn
}

func (l lateListener) Accept() (net.Conn, error) {
	if c, ok := <-l.late; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// A connection that a listener returns after Kill is closed, not served.
func TestServerTurnsAwayLate(t *testing.T) {
	late := make(chan net.Conn)
	s := serve(t, &drain.Server{}, func(l net.Listener) net.Listener { return lateListener{l, late} })
	s.end(100 * ms)
	client, server := net.Pipe()
	defer client.Close()
	late <- server
	client.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v", n, err)
	}
	close(late)
	if err := <-s.served; err != nil {
		t.Error(err)
	}
}

// A hijacked connection that is closed leaves nothing behind: a server of many short
// websockets would grow for ever.
func TestServerForgetsHijacked(t *testing.T) {
	conns := make(chan weak.Pointer[net.TCPConn], 1)
	s := serve(t, &drain.Server{}, func(l net.Listener) net.Listener { return weakListener{l, conns} })
	client := s.dial("GET /hijack HTTP/1.1\r\nHost: x\r\n\r\n")
	(<-s.taken).Close()
	if !closed(client) {
		t.Fatal("not closed")
	}
	c := <-conns
	for until := time.Now().Add(10 * time.Second); c.Value() != nil; runtime.GC() {
		if time.Now().After(until) {
			t.Fatal("the server still holds the connection")
		}
	}
}

type weakListener struct {
	net.Listener
	conns chan<- weak.Pointer[net.TCPConn]
}

func (l weakListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		l.conns <- weak.Make(tcp)
	}
	return c, err
}

// A handler may close the connection that it hijacked twice, and work on. It still
// counts until it returns.
func TestServerHijackedClosedTwice(t *testing.T) {
	var g drain.Gate
	s := serve(t, &drain.Server{Gate: &g}, nil)
	within, free := make(chan struct{}), make(chan struct{})
	s.mux.HandleFunc("/twice", func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
		}
		c.Close()
		c.Close()
		close(within)
		<-free
	})
	s.dial("GET /twice HTTP/1.1\r\nHost: x\r\n\r\n")
	<-within
	defer close(free)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Drain(ctx); err == nil || !strings.Contains(err.Error(), "1 still in (GET /twice ") {
		t.Errorf("the handler runs, and Drain returns %v", err)
	}
}

// A slowListener's connections close once free is closed.
type slowListener struct {
	net.Listener
	closing, free chan struct{}
}

func (l slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return slowConn{c, l}, err
}

type slowConn struct {
	net.Conn
	l slowListener
}

func (c slowConn) Close() error {
	l := c.l
	close(l.closing)
	<-l.free
	return c.Conn.Close()
}

// A hijacked connection counts until it is closed, not until its Close begins: a step
// returned while the last connection was still open.
func TestServerHijackedCloseUnderWay(t *testing.T) {
	var g drain.Gate
	closing, free := make(chan struct{}), make(chan struct{})
	s := serve(t, &drain.Server{Gate: &g}, func(l net.Listener) net.Listener { return slowListener{l, closing, free} })
	s.dial("GET /hijack HTTP/1.1\r\nHost: x\r\n\r\n")
	c := <-s.taken
	closed := make(chan struct{})
	go func() { c.Close(); close(closed) }()
	<-closing
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Drain(ctx); err == nil || !strings.Contains(err.Error(), "1 still in (GET /hijack ") {
		t.Errorf("the connection is open, and Drain returns %v", err)
	}
	close(free)
	<-closed
}

// An endlessContext can end, as far as others know.
type endlessContext struct {
	context.Context
	done chan struct{}
}

func (c endlessContext) Done() <-chan struct{} { return c.done }

// A connection leaves nothing behind with a BaseContext that can end: each one would
// stay until the server's end.
func TestServerForgetsConnections(t *testing.T) {
	base := endlessContext{context.Background(), make(chan struct{})}
	s := serve(t, &drain.Server{HTTP: &http.Server{BaseContext: func(net.Listener) context.Context { return base }}}, nil)
	before := goleak.IgnoreCurrent()
	for range 3 {
		c := s.dial("")
		say(t, c, "/")
		c.Close()
	}
	goleak.VerifyNone(t, before)
}
