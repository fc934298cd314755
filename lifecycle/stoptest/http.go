package stoptest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"
)

// A request is what a built-in load sends, and how it reads the response.
type request struct {
	method, target, contentType string
	body                        func(ctx context.Context) (io.Reader, int64) // nil for none
	slow                        bool
	read                        func(io.Reader) error // nil to discard the body
}

// send is the Do of the built-in loads.
func (q request) send(ctx context.Context, addr string) error {
	url := q.target
	if strings.HasPrefix(url, "/") {
		url = "http://" + addr + url
	}
	url = strings.ReplaceAll(url, "{addr}", addr)
	rest, h2c := strings.CutPrefix(url, "h2c:")
	if h2c {
		url = "http:" + rest
	}
	c := callOf(ctx)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotFirstResponseByte: c.prove,
		Got100Continue:       c.prove,
		Got1xxResponse:       func(int, textproto.MIMEHeader) error { c.prove(); return nil },
	})
	req, err := http.NewRequestWithContext(ctx, q.method, url, nil)
	if err != nil {
		return err
	}
	inPieces := false
	switch {
	case q.body != nil:
		body, size := q.body(ctx)
		req.Body, req.ContentLength = io.NopCloser(body), size
		req.Header.Set("Content-Type", q.contentType)
		if _, inPieces = body.(*pieces); inPieces {
			req.Header.Set("Expect", "100-continue")
		}
	case !h2c && req.URL.Scheme == "http":
		// If a kept connection breaks, Transport repeats a request without a body. One with
		// an empty body that it cannot read again is the same on the wire, and not repeated.
		req.Body = io.NopCloser(strings.NewReader(""))
	}
	if q.read != nil {
		req.Header.Set("Accept", "text/event-stream")
	}
	transport := new(http.Transport)
	if c != nil && c.kept != nil && !q.slow {
		transport = c.kept
	} else {
		defer transport.CloseIdleConnections()
	}
	if transport.Protocols == nil {
		q.set(transport, h2c)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode < 300 && !inPieces { // their middle is half of the body
		c.middle(ctx)
	}
	return q.finish(res)
}

// set prepares a new transport.
func (q request) set(t *http.Transport, h2c bool) {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(!h2c)
	t.Protocols.SetHTTP2(!h2c)
	t.Protocols.SetUnencryptedHTTP2(h2c)
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // of a program that runs beside us
	t.DisableCompression = true
	t.ExpectContinueTimeout = time.Second // then the body is sent unasked
	if q.slow {
		t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if tcp, ok := conn.(*net.TCPConn); ok {
				tcp.SetReadBuffer(64 << 10)
			}
			return conn, err
		}
	}
}

// finish reads the body of the response.
func (q request) finish(res *http.Response) error {
	var err error
	switch {
	case q.read != nil && res.StatusCode < 300:
		err = q.read(res.Body)
	case q.slow:
		for err == nil {
			if _, err = io.CopyN(io.Discard, res.Body, 256<<10); err == nil {
				time.Sleep(5 * time.Millisecond)
			}
		}
		if err == io.EOF {
			err = nil
		}
	default:
		_, err = io.Copy(io.Discard, res.Body)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s, and then: %w", res.Status, err)
	case res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%w: %s", ErrRefused, res.Status)
	case res.StatusCode >= 400:
		return errors.New("answered " + res.Status)
	case res.ProtoMajor == 1 && res.ContentLength < 0 && len(res.TransferEncoding) == 0:
		return errNoFraming
	}
	return nil
}

// pieces is a body that is sent in pieces, with the middle of the call half way.
type pieces struct {
	ctx        context.Context
	body       string // "" for zeros
	sent, size int64
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.sent == p.size {
		return 0, io.EOF
	}
	half := p.size / 2
	if p.sent == half {
		callOf(p.ctx).middle(p.ctx)
	}
	next := p.size
	if p.sent < half {
		next = half
	}
	n := int(min(next-p.sent, int64(len(b)), 64<<10))
	clear(b[:n])
	if p.body != "" {
		copy(b[:n], p.body[p.sent:])
	}
	p.sent += int64(n)
	return n, nil
}

// errNoGoodbye is the error of a stream with complete framing.
var errNoGoodbye = errors.New("the stream ended")

// lines reads a stream of events to its end.
func lines(goodbye string) func(io.Reader) error {
	return func(r io.Reader) error {
		said := goodbye == ""
		b := bufio.NewReader(r)
		for {
			line, err := b.ReadString('\n')
			said = said || strings.Contains(line, goodbye)
			switch {
			case err == io.EOF && !said:
				return fmt.Errorf("%w: without %q", errNoGoodbye, goodbye)
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			}
		}
	}
}

// silent holds a connection until the program or ctx ends it.
func silent(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	callOf(ctx).prove()
	io.Copy(io.Discard, conn)
	return nil
}
