package judges

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A quick is a service of HTTP/3 alone: quic-go serves it, behind the gate of a
// drain.Server that serves nothing itself.
type quick struct {
	web    drain.Server
	h3     *http3.Server
	client *http.Client
	url    string
}

func newQuick(t *testing.T, handler http.Handler) *quick {
	q := &quick{web: drain.Server{Gate: new(drain.Gate)}}
	certified := httptest.NewTLSServer(nil) // for its certificate
	certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	q.url = "https://" + conn.LocalAddr().String()
	q.h3 = &http3.Server{
		Handler:   q.web.Handler(handler),
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: certified.TLS.Certificates}),
	}
	served := make(chan error, 1)
	go func() { served <- q.h3.Serve(conn) }()
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	q.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.Close()
		q.h3.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		conn.Close()
	})
	return q
}

// A reply is an answer whose header has arrived.
type reply struct {
	*http.Response
	body chan string // the body, and the error if it did not end well
}

func (q *quick) get(t *testing.T, path string) reply {
	t.Helper()
	r, err := q.client.Get(q.url + path)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			b = append(b, " cut"...)
		}
		got <- string(b)
	}()
	return reply{r, got}
}

// stop runs the plan of such a service: the gate first, the server of HTTP/3 after it.
func (q *quick) stop(budget time.Duration) (drain.Report, error) {
	p := drain.Plan{Budget: budget, Phases: []drain.Phase{
		{Name: "requests", Steps: []drain.Step{q.web.Step()}},
		{Name: "http3", Reserve: budget / 4, Steps: []drain.Step{{Name: "http3", Stop: q.h3.Shutdown}}},
	}}
	return p.Run(context.Background())
}

// hello begins the answer, so that the client's Get returns.
func hello(w http.ResponseWriter) {
	io.WriteString(w, "hello")
	http.NewResponseController(w).Flush()
}

// A service of HTTP/3 stops as one of HTTP/1 does: requests in flight are answered, a
// stream says goodbye, new requests on the same connection get 503, and probes an
// answer.
func TestHTTP3(t *testing.T) {
	const budget = 4 * time.Second
	finished := make(chan struct{})
	finish := sync.OnceFunc(func() { close(finished) })
	defer finish()
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		hello(w)
		<-finished
		io.WriteString(w, ", done")
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		hello(w)
		<-drain.Stopping(r.Context()).Done()
		io.WriteString(w, ", goodbye")
	})
	q := newQuick(t, mux)
	slow, stream := q.get(t, "/slow"), q.get(t, "/stream")
	if slow.ProtoMajor != 3 {
		t.Errorf("it speaks %s", slow.Proto)
	}
	type end struct {
		drain.Report
		err error
	}
	done := make(chan end, 1)
	go func() {
		r, err := q.stop(budget)
		done <- end{r, err}
	}()
	if got := <-stream.body; got != "hello, goodbye" {
		t.Errorf("the stream: %q", got)
	}
	if r := q.get(t, "/slow"); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || <-r.body != "stopping\n" {
		t.Errorf("a new request: %s, %v", r.Status, r.Header)
	}
	if r := q.get(t, "/readyz"); r.StatusCode != http.StatusOK || <-r.body != "" {
		t.Errorf("a probe: %s", r.Status)
	}
	select {
	case got := <-done:
		t.Errorf("the stop did not wait for the request in flight: %v", got.err)
	default:
	}
	finish()
	if got := <-slow.body; slow.StatusCode != http.StatusOK || got != "hello, done" {
		t.Errorf("the request in flight: %s, %q", slow.Status, got)
	}
	if got := <-done; got.err != nil || got.Took > budget/2 {
		t.Errorf("the stop took %v: %v", got.Took, got.err)
	}
}

// A request that does not end is cut at the deadline, and named.
func TestHTTP3Deaf(t *testing.T) {
	const budget = 2 * time.Second
	why := make(chan error, 1)
	q := newQuick(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hello(w)
		<-r.Context().Done()
		why <- context.Cause(r.Context())
	}))
	deaf := q.get(t, "/deaf")
	r, err := q.stop(budget)
	<-deaf.body
	if err := <-why; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the request's context ended with %v", err)
	}
	if cut := q.web.Gate.Cut(); !slices.Equal(cut, []string{"GET /deaf"}) || !errors.Is(err, context.DeadlineExceeded) || r.Took > budget+100*ms {
		t.Errorf("the stop took %v, cut %q: %v", r.Took, cut, err)
	}
}
