package drain_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

// activated is a program with a server for each address in ADDRS; the last one
// serves TLS. Each answers with the INSTANCE and with what children would see,
// to /slow after a second.
func activated() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var wg sync.WaitGroup
	p := drain.Plan{Phases: []drain.Phase{{Name: "requests"}}}
	addrs := strings.Fields(os.Getenv("ADDRS"))
	for i, addr := range addrs {
		web := &drain.Server{Settle: time.Minute, HTTP: &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(time.Second)
			}
			fmt.Fprint(w, os.Getenv("INSTANCE"), os.Getenv("LISTEN_FDS"))
		}), ErrorLog: log.New(io.Discard, "", 0)}}
		if i == len(addrs)-1 {
			web.HTTP.TLSConfig = certified()
		}
		step := web.Step()
		step.Name = addr
		p.Phases[0].Steps = append(p.Phases[0].Steps, step)
		wg.Go(func() {
			if err := web.ListenAndServe(context.Background()); err != nil {
				fmt.Println("error:", err)
			}
		})
	}
	<-ctx.Done()
	fmt.Println("stopping")
	r, _ := p.Run(ctx)
	wg.Wait()
	fmt.Print(r)
}

// A unit is a service whose sockets the test keeps, as systemd does.
type unit struct {
	t     *testing.T
	addrs []string
	files []*os.File
	*proctest.Process
}

func newUnit(t *testing.T, ls ...net.Listener) *unit {
	if runtime.GOOS == "windows" {
		t.Skip("skipped: on Windows no descriptors are passed")
	}
	u := &unit{t: t}
	for _, l := range ls {
		t.Cleanup(func() { l.Close() })
		f, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		u.files = append(u.files, f)
		u.addrs = append(u.addrs, l.Addr().String())
	}
	t.Setenv("ADDRS", strings.Join(u.addrs, " "))
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else a second passes at each end
	return u
}

func (u *unit) start(instance string) {
	u.t.Setenv("INSTANCE", instance)
	// A program does not know its pid before it runs.
	u.Process = proctest.Pass(u.t, u.files, "activated", "sh", "-c", fmt.Sprintf(`LISTEN_FDS=%d LISTEN_PID=$$ exec "$@"`, len(u.files)), "sh")
}

// end ends the instance, which must not have failed.
func (u *unit) end() (took time.Duration) {
	u.t.Helper()
	begin := time.Now()
	u.Signal(syscall.SIGTERM)
	u.ended()
	return time.Since(begin)
}

func (u *unit) ended() {
	u.t.Helper()
	if said, code := u.Ended(); code != 0 || strings.Contains(said, "error") || strings.Contains(said, "timeout") || !strings.Contains(said, "ok") {
		u.t.Errorf("status %d: %s", code, said)
	}
}

// ask sends a request on a new connection.
func (u *unit) ask(i int) (body string, err error) {
	network, scheme := "tcp", "http"
	if strings.HasPrefix(u.addrs[i], "/") {
		network = "unix"
	}
	if i == len(u.addrs)-1 {
		scheme = "https"
	}
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, u.addrs[i])
		}}
	c := http.Client{Transport: tr, Timeout: 15 * time.Second}
	r, err := c.Get(scheme + "://host/")
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = errors.New(r.Status)
	}
	return string(b), err
}

func listen(t *testing.T, network, addr string) net.Listener {
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Each server of a process takes the socket of its address, and leaves it to
// the next instance.
func TestActivation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	u := newUnit(t, listen(t, "tcp", "127.0.0.1:0"), listen(t, "unix", path), listen(t, "tcp", "127.0.0.1:0"))
	u.start("first")
	for i, addr := range u.addrs {
		if got, err := u.ask(i); got != "first" || err != nil {
			t.Errorf("%s: %q, %v", addr, got, err)
		}
	}

	// Connections that were accepted are served, the ones of later wait.
	silent, err := net.Dial("tcp", u.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := u.ask(0); err != nil { // it was accepted after silent
		t.Error(err)
	}
	signalled := time.Now()
	u.Signal(syscall.SIGTERM)
	u.Expect("stopping")
	time.Sleep(50 * ms)
	late := make([]chan string, len(u.addrs))
	for i := range u.addrs {
		late[i] = make(chan string, 1)
		go func() {
			body, err := u.ask(i)
			late[i] <- fmt.Sprint(body, err)
		}()
	}
	time.Sleep(50 * ms)
	io.WriteString(silent, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(silent), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The server lingers for a second. A busy machine may take longer to get here.
	if b, err := io.ReadAll(r.Body); (string(b) != "first" || !r.Close || err != nil) && time.Since(signalled) < 900*ms {
		t.Errorf("a silent connection that asks: %s %s, close %v, %v", r.Status, b, r.Close, err)
	}
	u.ended()
	u.start("second")
	for i, c := range late {
		if got := <-c; got != "second<nil>" {
			t.Errorf("%s, a connection of the stop: %s", u.addrs[i], got)
		}
	}
	silent, err = net.Dial("tcp", u.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := u.ask(0); err != nil {
		t.Error(err)
	}
	if took := u.end(); took < 950*ms || took > 3*time.Second {
		t.Errorf("with a silent connection, the stop took %v", took)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// Not one of many connections is refused or cut by five restarts.
func TestActivationUnderLoad(t *testing.T) {
	u := newUnit(t, listen(t, "tcp", "127.0.0.1:0"), listen(t, "tcp", "127.0.0.1:0"))
	var over atomic.Bool
	var served atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for !over.Load() {
				if _, err := u.ask(i % len(u.addrs)); err != nil {
					t.Error(err)
				}
				served.Add(1)
			}
		})
	}
	for n := range 5 {
		u.start(fmt.Sprint(n))
		for before := served.Load(); served.Load() < before+50; {
			time.Sleep(ms)
		}
		u.end()
	}
	over.Store(true)
	u.start("last")
	wg.Wait()
	if took := u.end(); took > 900*ms {
		t.Errorf("with nothing to wait for, the stop took %v", took)
	}
}

// A client that asks again and again on one connection is asked to close it.
func TestActivationKeepAlive(t *testing.T) {
	u := newUnit(t, listen(t, "tcp", "127.0.0.1:0"), listen(t, "tcp", "127.0.0.1:0"))
	u.start("one")
	c, err := net.Dial("tcp", u.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	from := bufio.NewReader(c)
	for n := 0; ; n++ {
		if n == 20 {
			u.Signal(syscall.SIGTERM)
		}
		begin := time.Now()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		r, err := http.ReadResponse(from, nil)
		if took := time.Since(begin); err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("after %d answers, the last one in %v: %v", n, took, err)
		}
		io.Copy(io.Discard, r.Body)
		if r.Close {
			break
		}
		time.Sleep(5 * ms)
	}
	u.ended()
}

// A connection that is idle after the stop is closed, and one whose request was
// within at the stop is closed after its answer. Neither can send one more and be refused.
func TestActivationIdle(t *testing.T) {
	u := newUnit(t, listen(t, "tcp", "127.0.0.1:0"), listen(t, "tcp", "127.0.0.1:0"))
	u.start("one")
	answer := func(c net.Conn, path string) *http.Response {
		io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Error(err)
			return new(http.Response)
		}
		io.Copy(io.Discard, r.Body)
		return r
	}
	var cs [2]net.Conn
	for i := range cs {
		c, err := net.Dial("tcp", u.addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cs[i] = c
		answer(c, "/")
	}
	slow := make(chan bool, 1)
	go func() { slow <- answer(cs[1], "/slow").Close }()
	time.Sleep(200 * ms) // it is within
	u.Signal(syscall.SIGTERM)
	io.Copy(io.Discard, cs[0])
	select {
	case <-slow:
		t.Error("the idle connection was closed at the end only")
	default:
		if !<-slow {
			t.Error("the connection of the request within stays")
		}
	}
	u.ended()
}

// Clients of HTTP/2, which ask all the time on one connection, move to the next
// instance, and none is refused.
func TestActivationHTTP2(t *testing.T) {
	u := newUnit(t, listen(t, "tcp", "127.0.0.1:0"))
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer tr.CloseIdleConnections()
	var over atomic.Bool
	var served atomic.Int64
	wg := posts(16, &http.Client{Transport: tr, Timeout: 15 * time.Second}, "https://"+u.addrs[0]+"/", ms, func(code int, err error) bool {
		if err != nil || code != http.StatusOK {
			t.Errorf("%d, %v", code, err)
		}
		served.Add(1)
		return over.Load()
	})
	for n := range 4 {
		u.start(fmt.Sprint(n))
		for before := served.Load(); served.Load() < before+200; {
			time.Sleep(ms)
		}
		if n == 3 {
			over.Store(true)
			wg.Wait()
		}
		u.end()
	}
}

// If systemd passes no socket of its address, a server listens itself.
func TestActivationOfOthers(t *testing.T) {
	other := listen(t, "tcp", "127.0.0.1:0")
	u := newUnit(t, listen(t, "tcp", "127.0.0.1:0"))
	other.Close()
	u.addrs[0] = other.Addr().String()
	t.Setenv("ADDRS", u.addrs[0])
	u.start("alone")
	for begin := time.Now(); ; time.Sleep(10 * ms) {
		got, err := u.ask(0)
		if got == "alone" {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// If net/http refuses to serve, no client is left waiting in the kernel.
func TestServeCloses(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	config := certified()
	config.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA} // HTTP/2 forbids it
	s := drain.Server{HTTP: &http.Server{Addr: l.Addr().String(), TLSConfig: config}}
	if err := s.Serve(t.Context(), l); err == nil {
		t.Error("it served")
	}
	l = listen(t, "tcp", s.HTTP.Addr)
	l.Close()
	if err := s.ListenAndServe(t.Context()); err == nil {
		t.Error("it served")
	}
	listen(t, "tcp", s.HTTP.Addr).Close()
}
