//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

func TestMain(m *testing.M) {
	if os.Getenv("EVENKEEL_GATEWAY") != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// A gateway is a process and its address, which the next process gets too.
type gateway struct {
	t    *testing.T
	addr string
	cmd  *exec.Cmd
	log  *strings.Builder
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func start(t *testing.T, addr, state string) *gateway {
	admin := freeAddr(t)
	g := &gateway{t, addr, exec.Command(os.Args[0], "-addr", addr, "-admin", admin, "-state", state, "-settle", "100ms"), new(strings.Builder)}
	g.cmd.Env = append(os.Environ(), "EVENKEEL_GATEWAY=1", "GORACE=atexit_sleep_ms=0")
	g.cmd.Stderr = g.log
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.cmd.Process.Kill() })
	ready(t, admin)
	return g
}

func ready(t *testing.T, addr string) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if r, err := client.Get("http://" + addr + "/readyz"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
	}
	t.Fatal("not ready")
}

// stop ends the process well.
func (g *gateway) stop() {
	g.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(20*time.Second, func() { g.cmd.Process.Kill() })
	defer late.Stop()
	if err := g.cmd.Wait(); err != nil {
		g.t.Errorf("%v:\n%s", err, g.log)
	}
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func post(t *testing.T, addr string, n int) {
	r, err := client.PostForm("http://"+addr+"/messages", url.Values{"text": {strconv.Itoa(n)}})
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusCreated {
		t.Error(r.Status)
	}
}

// events reads server-sent events until the stream ends, and returns the last id
// and the texts.
func events(addr string, after int) (last int, texts []string, err error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/events?session=sse", nil)
	if err != nil {
		return after, nil, err
	}
	r.Header.Set("Last-Event-ID", strconv.Itoa(after))
	answer, err := client.Do(r)
	if err != nil {
		return after, nil, err
	}
	defer answer.Body.Close()
	last = after
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			last, _ = strconv.Atoi(id)
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			text, err := strconv.Unquote(data)
			if err != nil {
				return last, texts, err
			}
			texts = append(texts, text)
		}
	}
	return last, texts, lines.Err()
}

// socket reads messages until the server says that it restarts.
func socket(ctx context.Context, addr string, after int64) (last int64, texts []string, err error) {
	last = after
	c, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/socket?session=ws&after=%d", addr, after), &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return last, nil, err
	}
	defer c.CloseNow()
	for {
		var m message
		if err := wsjson.Read(ctx, c, &m); err != nil {
			return last, texts, err
		}
		last, texts = m.ID, append(texts, m.Text)
	}
}

// TestRestarts stops the gateway twice under its listeners. They get every message
// once, in order, and each stream ends well.
func TestRestarts(t *testing.T) {
	addr, state := freeAddr(t), t.TempDir()
	const restarts, each = 3, 20
	var want, heardSSE, heardWS []string
	lastSSE, lastWS := 0, int64(0)
	for i := range restarts {
		g := start(t, addr, state)
		sse, ws := make(chan error, 1), make(chan error, 1)
		go func() {
			last, texts, err := events(addr, lastSSE)
			lastSSE, heardSSE = last, append(heardSSE, texts...)
			sse <- err
		}()
		go func() {
			last, texts, err := socket(t.Context(), addr, lastWS)
			lastWS, heardWS = last, append(heardWS, texts...)
			ws <- err
		}()
		for j := range each {
			post(t, addr, i*each+j)
			want = append(want, strconv.Itoa(i*each+j))
		}
		time.Sleep(100 * time.Millisecond)
		begin := time.Now()
		g.stop()
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("stopped after %v", took)
		}
		if err := <-sse; err != nil {
			t.Error("events:", err)
		}
		if err := <-ws; websocket.CloseStatus(err) != websocket.StatusServiceRestart {
			t.Error("socket:", err)
		}
	}
	if got := strings.Join(heardSSE, " "); got != strings.Join(want, " ") {
		t.Error("events:", got)
	}
	if got := strings.Join(heardWS, " "); got != strings.Join(want, " ") {
		t.Error("socket:", got)
	}
}

// TestSuspect kills the gateway twice under a listener, and under others that are not
// connected both times. The third gateway refuses that listener alone, and logs it once.
func TestSuspect(t *testing.T) {
	addr, state := freeAddr(t), t.TempDir()
	for i := range 2 {
		g := start(t, addr, state)
		for _, session := range []string{"always", fmt.Sprint("only ", i)} {
			if r := ask(t, addr, session); r.StatusCode != http.StatusOK {
				t.Fatal(r.Status)
			}
		}
		g.cmd.Process.Kill()
		g.cmd.Wait()
	}
	g := start(t, addr, state)
	for range 3 {
		if r := ask(t, addr, "always"); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			t.Error(r.Status, r.Header)
		}
	}
	for _, session := range []string{"only 0", "only 1", "new", ""} {
		if r := ask(t, addr, session); r.StatusCode != http.StatusOK {
			t.Error(session, r.Status)
		}
	}
	g.stop()
	if log := g.log.String(); strings.Count(log, "session suspected") != 1 || !strings.Contains(log, `"session":"always"`) {
		t.Error(log)
	}
}

// ask opens a stream of events, which stays open until the test ends.
func ask(t *testing.T, addr, session string) *http.Response {
	r, err := client.Get("http://" + addr + "/events?" + url.Values{"session": {session}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	return r
}

// TestNothingLeft runs the program inside the test.
func TestNothingLeft(t *testing.T) {
	addr, admin, state := freeAddr(t), freeAddr(t), t.TempDir()
	lifecycle.VerifyNone(t)
	done := make(chan error, 1)
	go func() { done <- run(addr, admin, state, 0, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	ready(t, admin)
	heard := make(chan error, 1)
	go func() {
		_, texts, err := events(addr, 0)
		if err == nil && len(texts) != 1 {
			err = errors.New("heard " + strings.Join(texts, " "))
		}
		heard <- err
	}()
	post(t, addr, 1)
	time.Sleep(100 * time.Millisecond)
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	if err := errors.Join(<-done, <-heard); err != nil {
		t.Error(err)
	}
}
