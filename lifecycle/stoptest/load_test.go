package stoptest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A script is what a server does on one connection, once it has read the head of a request.
type script func(conn net.Conn, body *bufio.Reader)

func says(texts ...string) script {
	return func(conn net.Conn, _ *bufio.Reader) {
		for _, text := range texts {
			io.WriteString(conn, text)
		}
	}
}

// serve serves connections with a script until the test ends.
func serve(t *testing.T, do script) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			r := bufio.NewReader(conn)
			for line := ""; line != "\r\n" && err == nil; {
				line, err = r.ReadString('\n')
			}
			do(conn, r)
			conn.(*net.TCPConn).CloseWrite() // an end, and no reset
			io.Copy(io.Discard, r)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// call makes one call of a load, as a client that has no life.
func (l Load) call(ctx context.Context, addr string) (end, error) {
	c := &call{began: time.Now()}
	err := l.Do(context.WithValue(ctx, callKey{}, c), addr)
	return c.endOf(err), err
}

func TestEnds(t *testing.T) {
	const ok, chunked = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	half := func(conn net.Conn, body *bufio.Reader) {
		io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		io.CopyN(io.Discard, body, 500)
	}
	reset := func(conn net.Conn, _ *bufio.Reader) {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	get, upload, events := Get("/"), Upload("/", 1000), Events("/", "goodbye")
	for _, tt := range []struct {
		name string
		load Load
		do   script
		want end
	}{
		{"complete", get, says(ok + "Content-Length: 2\r\n\r\nhi"), answered},
		{"complete, in chunks", get, says(chunked + "2\r\nhi\r\n0\r\n\r\n"), answered},
		{"redirect", get, says("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), answered},
		{"busy", get, says("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), refused},
		{"too many", get, says("HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n"), refused},
		{"half a refusal", get, says("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n"), lost},
		{"failed", get, says("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), lost},
		{"no byte", get, says(), unproven},
		{"reset without a byte", get, reset, unproven},
		{"half a head", get, says("HTTP/1.1 2"), lost},
		{"head alone", get, says(ok + "Content-Length: 2\r\n\r\n"), lost},
		{"half a body", get, says(ok + "Content-Length: 2\r\n\r\nh"), lost},
		{"no last chunk", get, says(chunked + "2\r\nhi\r\n"), lost},
		{"no framing", get, says("HTTP/1.0 200 OK\r\n\r\nhi"), unproven},
		{"early hints alone", get, says("HTTP/1.1 103 Early Hints\r\n\r\n"), lost},
		{"post, no byte", Post("/", "text/plain", "hi"), says(), unproven},
		{"post, half a body", Post("/", "text/plain", "hi"), says(ok + "Content-Length: 2\r\n\r\nh"), lost},
		{"admitted upload", upload, half, lost},
		{"admitted and answered upload", upload, func(conn net.Conn, body *bufio.Reader) {
			half(conn, body)
			io.CopyN(io.Discard, body, 500)
			io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
		}, answered},
		{"upload, no byte", upload, says(), unproven},
		{"upload refused at once", upload, says("HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), refused},
		{"stream with its goodbye", events, says(chunked+"d\r\ndata: goodbye\r\n", "0\r\n\r\n"), answered},
		{"stream without its goodbye", events, says(chunked + "4\r\nhi\n\n\r\n0\r\n\r\n"), lost},
		{"stream that is cut", events, says(chunked + "d\r\ndata: goodbye\r\n"), lost},
		{"stream, no byte", events, says(), unproven},
		{"stream that may end anyhow", Events("/", ""), says(chunked + "4\r\nhi\n\n\r\n0\r\n\r\n"), answered},
		{"slow reader", Slow("/"), says(ok+"Content-Length: 1000000\r\n\r\n", strings.Repeat("x", 1_000_000)), answered},
		{"slow reader that is cut", Slow("/"), says(ok+"Content-Length: 1000000\r\n\r\n", strings.Repeat("x", 900_000)), lost},
		{"silent", Silent(), says(), answered},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, err := tt.load.call(t.Context(), serve(t, tt.do)); got != tt.want {
				t.Errorf("ended as %d (%v), want %d", got, err, tt.want)
			}
		})
	}
}

// Without a server each call is refused.
func TestRefused(t *testing.T) {
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []Load{Get("/"), Post("/", "", ""), Upload("/", 10), Events("/", ""), Slow("/"), Silent(), Get("h2c://{addr}/")} {
		if got, err := l.call(t.Context(), addr); got != refused {
			t.Errorf("%s: ended as %d (%v)", l.Name, got, err)
		}
	}
}

// A Load of the user is refused, lost or unproven by what it returns and what it called.
func TestUserLoad(t *testing.T) {
	broken := errors.New("broken")
	for want, do := range map[end]func(context.Context, string) error{
		answered: func(context.Context, string) error { return nil },
		refused: func(ctx context.Context, _ string) error {
			Admitted(ctx)
			return fmt.Errorf("draining: %w", ErrRefused)
		},
		lost:     func(ctx context.Context, _ string) error { Admitted(ctx); return broken },
		unproven: func(context.Context, string) error { return broken },
	} {
		if got, err := (Load{Do: do}).call(t.Context(), ""); got != want {
			t.Errorf("ended as %d (%v), want %d", got, err, want)
		}
	}
	Admitted(t.Context()) // without a call nothing happens
}

// HTTP/2 has its own ends: a complete stream, and one that is reset.
func TestHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Proto)
		http.NewResponseController(w).Flush()
		if r.URL.Path == "/cut" || r.Proto != "HTTP/2.0" {
			panic(http.ErrAbortHandler)
		}
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	tls := httptest.NewUnstartedServer(s.Config.Handler)
	tls.EnableHTTP2 = true
	tls.StartTLS()
	defer tls.Close()
	for target, want := range map[string]end{"h2c://{addr}/": answered, "h2c://{addr}/cut": lost, "https://{addr}/": answered, "https://{addr}/cut": lost} {
		server := s
		if strings.HasPrefix(target, "https") {
			server = tls
		}
		if got, err := Get(target).call(t.Context(), server.Listener.Addr().String()); got != want {
			t.Errorf("GET %s: ended as %d (%v), want %d", target, got, err, want)
		}
	}
}

// UploadOf sends its body as it is, and only after the server has asked for it.
func TestUploadOf(t *testing.T) {
	body := strings.Repeat("0123456789", 10_001)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != body || r.Header.Get("Content-Type") != "text/plain" || r.Header.Get("Expect") != "100-continue" {
			http.Error(w, "not as sent", http.StatusBadRequest)
		}
	}))
	defer server.Close()
	if got, err := UploadOf("/", "text/plain", body).call(t.Context(), server.Listener.Addr().String()); got != answered {
		t.Errorf("ended as %d (%v)", got, err)
	}
}
