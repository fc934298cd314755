package explore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// A Client sends requests and judges what becomes of them. A request that the handler
// got must have a whole answer. Any other may only be refused a connection.
type Client struct {
	Over <-chan struct{} // closed when the drain has ended

	run     *run
	latency time.Duration
	http    *http.Client
	sure    bool // refused nothing
}

func (r *run) client(i int, do func(*Client)) {
	c := &Client{Over: r.over, run: r, latency: time.Duration(i+1) * 1_300_001}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.net.dial(ctx, c.latency) },
		Protocols:   new(http.Protocols), ExpectContinueTimeout: time.Minute,
	}
	transport.Protocols.SetHTTP1(true)
	defer transport.CloseIdleConnections()
	c.http = &http.Client{Transport: transport}
	do(c)
}

// HTTP2 makes the client use HTTP/2 without TLS from now on.
func (c *Client) HTTP2() {
	p := c.http.Transport.(*http.Transport).Protocols
	p.SetHTTP1(false)
	p.SetUnencryptedHTTP2(true)
}

// Fresh makes the client use a new connection for each request.
func (c *Client) Fresh() { c.http.Transport.(*http.Transport).DisableKeepAlives = true }

// Balanced calls f, with a pause between, on new connections and until the server is not
// ready. It asks at an interval, as a balancer does. Then no request may be refused.
func (c *Client) Balanced(interval, pause time.Duration, f func()) {
	c.Fresh()
	c.sure = true
	for asked := (time.Time{}); ; time.Sleep(pause) {
		if time.Since(asked) >= interval {
			asked = time.Now()
			resp, err := c.http.Get("http://server/readyz")
			if err != nil {
				return
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return
			}
		}
		f()
	}
}

// Every calls f again and again, with a pause between, until the drain has ended.
func (c *Client) Every(pause time.Duration, f func()) {
	for {
		f()
		select {
		case <-time.After(pause):
		case <-c.Over:
			return
		}
	}
}

// Get sends a GET and wants the answer to end with last.
func (c *Client) Get(path, last string) { c.Do("GET", path, nil, last) }

// Do sends a request and wants its answer to end with last.
func (c *Client) Do(method, path string, body io.Reader, last string) {
	id := c.run.id()
	req, err := http.NewRequest(method, "http://server"+path, body)
	if err != nil {
		c.run.broken("%v", err)
		return
	}
	req.Header.Set("Id", id)
	if body != nil {
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := c.http.Do(req)
	var answer []byte
	if err == nil {
		answer, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	admitted, stopping, cut := c.run.admitted(id)
	switch {
	case !admitted && (!stopping || c.sure || !errors.Is(err, syscall.ECONNREFUSED)):
		c.run.broken("%s %s was not served: %v, %v", method, path, status(resp), err)
	case admitted && !cut && (err != nil || resp.StatusCode/100 != 2 || !strings.HasSuffix(string(answer), last)):
		c.run.broken("%s %s was lost: %v, %q, %v", method, path, status(resp), answer, err)
	}
}

func status(resp *http.Response) string {
	if resp == nil {
		return "no answer"
	}
	return resp.Status
}

// Upgrade takes over a connection, and sends and reads lines until the server says
// last.
func (c *Client) Upgrade(path, last string, pause time.Duration) {
	conn, err := c.run.net.dial(context.Background(), c.latency)
	if err != nil {
		return
	}
	defer conn.Close()
	id := c.run.id()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: server\r\nId: %s\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n", path, id)
	lines := bufio.NewScanner(conn)
	ended := make(chan struct{})
	defer func() { <-ended }()
	over := make(chan struct{})
	defer close(over)
	go func() {
		defer close(ended)
		for {
			select {
			case <-time.After(pause):
				fmt.Fprintln(conn, "hello")
			case <-over:
				return
			}
		}
	}()
	seen := ""
	for lines.Scan() {
		seen = lines.Text()
	}
	if admitted, _, cut := c.run.admitted(id); admitted && !cut && seen != last {
		c.run.broken("the connection of %s ended after %q: %v", path, seen, lines.Err())
	}
}

// Silent opens a connection and says nothing.
func (c *Client) Silent() {
	conn, err := c.run.net.dial(context.Background(), c.latency)
	if err != nil {
		return
	}
	<-c.Over
	conn.Close()
}
