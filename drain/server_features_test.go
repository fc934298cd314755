package drain_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// http.Server removes the temporary files of a multipart upload from the request
// that it made. The handler gets another one, which once left them behind.
func TestServerRemovesUploads(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP"} { // TMP is that of Windows
		t.Setenv(name, dir)
	}
	spilled := make(chan int, 1)
	web := &drain.Server{HTTP: &http.Server{}}
	s := serve(t, web, nil)
	s.mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil {
			t.Error(err)
		}
		files, _ := os.ReadDir(dir)
		spilled <- len(files)
	})
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, _ := form.CreateFormFile("file", "name")
	part.Write(make([]byte, 11<<20)) // over the 10 MiB that ParseMultipartForm keeps in any case
	form.Close()
	r, err := s.client.Post("http://"+s.addr+"/upload", form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if n := <-spilled; n != 1 {
		t.Fatalf("%d temporary files during the request", n)
	}
	if got := <-s.stop(t.Context(), 5*time.Second); got.err != nil {
		t.Error(got.err)
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("%d temporary files are left", len(files))
	}
}

// The hooks of http.Server run when the gate is shut, so that a stream that waits
// for one of them ends well. They run once, also if Kill is the first to come.
func TestServerRunsShutdownHooks(t *testing.T) {
	for _, killed := range []bool{false, true} {
		var ran atomic.Int64
		down := make(chan struct{})
		web := &http.Server{}
		web.RegisterOnShutdown(func() {
			if ran.Add(1) == 1 {
				close(down)
			}
		})
		s := serve(t, &drain.Server{HTTP: web}, nil)
		s.mux.HandleFunc("/hook", func(w http.ResponseWriter, r *http.Request) {
			s.in <- "/hook"
			<-down
			io.WriteString(w, "goodbye")
		})
		hook := s.begin("/hook")
		begin := time.Now()
		if killed {
			s.Step().Kill()
		} else if got := <-s.stop(t.Context(), 20*time.Second); got.err != nil || got.over(2*time.Second) {
			t.Errorf("took %v: %v", got.Took, got.err)
		}
		if err := <-hook; err != nil {
			t.Errorf("killed %v: a stream that a hook ends: %v after %v", killed, err, time.Since(begin))
		}
		s.Step().Stop(t.Context())
		s.Step().Kill()
		if n := ran.Load(); n != 1 {
			t.Errorf("killed %v: the hooks ran %d times", killed, n)
		}
	}
}

// A second stop while the server settles does not cost its streams their goodbye.
func TestServerForcedGoodbyes(t *testing.T) {
	const n = 20
	s := serve(t, &drain.Server{Settle: time.Minute}, nil)
	bodies := make(chan string, n)
	for range n {
		go func() {
			body, err := s.ask("/sse")
			bodies <- fmt.Sprint(body, err)
		}()
		<-s.in
	}
	ctx, force := asked(time.Now())
	done := s.stop(ctx, 20*time.Second)
	time.Sleep(50 * ms)
	force()
	for range n {
		if got := <-bodies; !strings.Contains(got, "event: goodbye") {
			t.Errorf("a stream ended with %q", got)
		}
	}
	if got := <-done; got.over(time.Second) {
		t.Errorf("took %v", got.Took)
	}
}

// A handler behind the gate that another server calls, HTTP/3 for example. HTTP is
// nil: the step has no listener to close.
func TestServerHandlerAlone(t *testing.T) {
	var web drain.Server
	in, free := make(chan context.Context, 2), make(chan struct{})
	h := web.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in <- r.Context()
		<-free
		io.WriteString(w, "ok")
	}))
	answer := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		web.Handler(h).ServeHTTP(w, httptest.NewRequest("GET", "/", nil)) // twice wrapped, it counts once
		return w
	}
	first := make(chan *httptest.ResponseRecorder, 1)
	go func() { first <- answer() }()
	stopping := drain.Stopping(<-in)
	done := make(chan error, 1)
	go func() { done <- web.Step().Stop(t.Context()) }()
	<-stopping.Done()
	if w := answer(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("Connection") != "close" {
		t.Errorf("refused with %d, %v", w.Code, w.Header())
	}
	select {
	case err := <-done:
		t.Errorf("did not wait: %v", err)
	default:
	}
	close(free)
	if w, err := <-first, <-done; w.Code != http.StatusOK || err != nil {
		t.Errorf("%d: %v", w.Code, err)
	}
}

// A request within one server's gate is not within another's: a handler behind both is
// refused by the one that stopped.
func TestServerHandlerBehindTwo(t *testing.T) {
	var outer, inner drain.Server
	h := outer.Handler(inner.Handler(http.NotFoundHandler()))
	inner.Step().Stop(t.Context())
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d", w.Code)
	}
}

// HTTP/3 has no Connection header.
func TestServerRefusesHTTP3(t *testing.T) {
	var web drain.Server
	h := web.Handler(http.NotFoundHandler())
	web.Step().Stop(t.Context())
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/3.0", 3, 0
	if h.ServeHTTP(w, r); w.Code != http.StatusServiceUnavailable || w.Header()["Connection"] != nil {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
}

// The preface of HTTP/2 without TLS is not a request: h2c.NewHandler takes the
// connection for as long as the client likes.
func TestServerPreface(t *testing.T) {
	taken, free := make(chan net.Conn, 1), make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := drain.Server{HTTP: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- c
		<-free
	})}}
	served := make(chan error, 1)
	go func() { served <- web.Serve(t.Context(), l) }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "PRI * HTTP/2.0\r\n\r\n")
	c := <-taken
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := web.Step().Stop(ctx); err != nil {
		t.Error(err)
	}
	close(free)
	c.Close()
	web.Step().Kill()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A request costs two allocations more than with http.Server alone: its stay in the
// gate, and the copy of the http.Request that carries it.
func TestServerAllocations(t *testing.T) {
	const warmUp, n = 100, 5000
	perRequest := func(serve func(*http.Server, net.Listener) error) float64 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })}
		served := make(chan error, 1)
		go func() { served <- serve(web, l) }()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		answer := make([]byte, 1024)
		for i := range warmUp + n {
			if i == warmUp {
				runtime.ReadMemStats(&before)
			}
			io.WriteString(c, "GET /path HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := c.Read(answer); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		c.Close()
		web.Close()
		<-served
		return float64(after.Mallocs-before.Mallocs) / n
	}
	bare := perRequest((*http.Server).Serve)
	ours := perRequest(func(web *http.Server, l net.Listener) error { return (&drain.Server{HTTP: web}).Serve(t.Context(), l) })
	if ours > bare+2.5 {
		t.Errorf("%.1f allocations a request, http.Server alone has %.1f", ours, bare)
	}
}
