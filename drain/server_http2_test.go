package drain_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// What a client of HTTP/2 says first, with empty SETTINGS, and the frame header
// of a request whose headers are 1000 bytes long.
const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	headers = "\x00\x03\xe8\x01\x04\x00\x00\x00\x01"
)

// No stage at which a connection can be when the server stops, or that it reaches
// later, holds up the stop. In net/http one that turns to HTTP/2 after
// Shutdown said GOAWAY to the others does, to the deadline (golang/go#81153).
func TestServerHTTP2Stages(t *testing.T) {
	say := func(c *tls.Conn, what string) {
		if c.Handshake() == nil {
			io.WriteString(c, what)
		}
	}
	trickle := func(c *tls.Conn, what string) {
		for i := range what {
			say(c, what[i:i+1])
			time.Sleep(20 * ms)
		}
	}
	for _, tt := range []struct {
		name   string
		before func(*tls.Conn) // the stop
		during func(*tls.Conn)
		after  bool // the sweep, it turns to HTTP/2
	}{
		{"silent", nil, nil, false},
		{"half a handshake", func(c *tls.Conn) { io.WriteString(c.NetConn(), "\x16\x03\x01\x02\x00") }, nil, false},
		{"a handshake", func(c *tls.Conn) { say(c, "") }, nil, false},
		{"a preface", func(c *tls.Conn) { say(c, preface) }, nil, false},
		{"a preface byte by byte", nil, func(c *tls.Conn) { trickle(c, preface) }, false},
		{"headers byte by byte", func(c *tls.Conn) { say(c, preface+headers) }, func(c *tls.Conn) { trickle(c, strings.Repeat("x", 100)) }, false},
		{"a preface after the sweep", func(c *tls.Conn) { say(c, "") }, nil, true},
		{"a handshake after the sweep", nil, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			swept, turned := make(chan struct{}), make(chan string, 100)
			web := &http.Server{TLSConfig: certified(), ConnState: func(c net.Conn, state http.ConnState) {
				if state == http.StateIdle {
					turned <- c.RemoteAddr().String()
				}
			}}
			web.RegisterOnShutdown(func() { close(swept) })
			s := serve(t, &drain.Server{HTTP: web}, nil)
			hold := s.begin("/hold")
			c := s.dialHTTP2()
			<-s.conns
			if tt.before != nil {
				tt.before(c)
			}
			done := s.stop(t.Context(), 10*time.Second)
			var wg sync.WaitGroup
			defer wg.Wait()
			if tt.during != nil {
				wg.Go(func() { tt.during(c) })
			}
			<-swept
			if tt.after {
				time.Sleep(20 * ms) // net/http's own hook runs beside ours
				say(c, preface)
				for addr := ""; addr != c.LocalAddr().String(); {
					addr = <-turned
				}
			}
			close(s.free)
			if err := <-hold; err != nil {
				t.Errorf("the request within: %v", err)
			}
			if got := <-done; got.err != nil || got.over(3*time.Second) { // GOAWAY takes net/http 1 s
				t.Errorf("took %v: %v", got.Took, got.err)
			}
			if !closed(c.NetConn()) {
				t.Error("the connection is open")
			}
		})
	}
}

// While the server settles, HTTP/2 clients keep their connection. A new one would still
// reach this instance.
func TestServerHTTP2Settles(t *testing.T) {
	s := serve(t, &drain.Server{Settle: 200 * ms, HTTP: &http.Server{TLSConfig: certified()}}, nil)
	get := func() {
		r, err := s.client.Get("https://" + s.addr + "/")
		if err != nil {
			t.Error(err)
			return
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if r.ProtoMajor != 2 {
			t.Error(r.Proto)
		}
	}
	get()
	done := s.stop(t.Context(), 10*time.Second)
	for begin := time.Now(); time.Since(begin) < 100*ms; {
		get()
	}
	if got := <-done; got.err != nil {
		t.Error(got.err)
	}
	if n := len(s.conns); n != 1 {
		t.Errorf("the client opened %d connections", n)
	}
}

// An idle connection is closed after GOAWAY: without it a client does not know that
// the request it has just sent was not processed, and does not send a POST again.
func TestServerHTTP2Goodbye(t *testing.T) {
	s := serve(t, &drain.Server{HTTP: &http.Server{TLSConfig: certified()}}, nil)
	c := s.dialHTTP2()
	io.WriteString(c, preface)
	<-s.conns
	done := s.stop(t.Context(), 10*time.Second)
	const goAway = 7
	for frame := make([]byte, 9); frame[3] != goAway; {
		_, err := io.ReadFull(c, frame)
		if err == nil {
			_, err = io.CopyN(io.Discard, c, int64(frame[0])<<16|int64(frame[1])<<8|int64(frame[2]))
		}
		if err != nil {
			t.Fatalf("no GOAWAY: %v", err)
		}
	}
	if got := <-done; got.err != nil || got.over(3*time.Second) {
		t.Errorf("took %v: %v", got.Took, got.err)
	}
}

// Connections that turn to HTTP/2 all the time, at each instant of the stop.
func TestServerHTTP2Storm(t *testing.T) {
	for range 3 {
		s := serve(t, &drain.Server{HTTP: &http.Server{TLSConfig: certified()}}, nil)
		var n atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 2000 {
					c := s.dialHTTP2()
					if c == nil {
						return
					}
					if c.Handshake() == nil {
						io.WriteString(c, preface)
						n.Add(1)
					}
				}
			})
		}
		for n.Load() < 20 {
			time.Sleep(ms)
		}
		got := <-s.stop(t.Context(), 4*time.Second)
		wg.Wait()
		if got.err != nil || got.over(2*time.Second) {
			t.Errorf("took %v with %d connections: %v", got.Took, n.Load(), got.err)
		}
	}
}

// A request whose body comes byte by byte is cut at Kill, and not before.
func TestServerHTTP2Body(t *testing.T) {
	const budget = time.Second
	s := serve(t, &drain.Server{HTTP: &http.Server{TLSConfig: certified()}}, nil)
	r, w := io.Pipe()
	answered := make(chan error)
	go func() {
		_, err := s.client.Post("https://"+s.addr+"/body", "text/plain", r)
		r.Close()
		answered <- err
	}()
	go func() {
		for err := error(nil); err == nil; time.Sleep(20 * ms) {
			_, err = io.WriteString(w, "x")
		}
	}()
	<-s.in
	begin := time.Now()
	done := s.stop(t.Context(), budget)
	if err := <-answered; err == nil || time.Since(begin) < budget*8/10 {
		t.Errorf("the client got %v after %v", err, time.Since(begin))
	}
	got := <-done
	if !errors.Is(got.err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(got.err), "1 still in (POST /body ") || got.over(budget+100*ms) {
		t.Errorf("took %v: %v", got.Took, got.err)
	}
}

// dialHTTP2 connects and says nothing yet. It returns nil if nothing listens.
func (s *site) dialHTTP2() *tls.Conn {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil
	}
	s.t.Cleanup(func() { c.Close() })
	return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
}
