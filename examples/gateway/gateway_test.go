//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var lives = flag.Int("lives", 8, "how often TestStops stops the gateway; 0 means each moment once")

// The gateway stops well at each moment. A listener that reconnects gets each message that
// was acknowledged, once and in order.
func TestStops(t *testing.T) {
	var acknowledged sync.Map // the texts that the listener has not got yet
	post := func(ctx context.Context, addr string) (text string, err error) {
		text = rand.Text()
		err = stoptest.Post("/messages", "application/x-www-form-urlencoded", "text="+text).Do(ctx, addr)
		if err == nil {
			acknowledged.Store(text, true)
		}
		return text, err
	}
	last := int64(0)
	stoptest.Run(t, stoptest.Program{
		Args:  []string{"-addr", "{addr}", "-admin", "{admin}", "-state", "{dir}", "-settle", "100ms"},
		Ready: "http://{admin}/readyz",
		Load: []stoptest.Load{
			{Name: "POST /messages", Do: func(ctx context.Context, addr string) error { _, err := post(ctx, addr); return err }},
			stoptest.Events("/events", ""),
			{Name: "WebSocket /socket", Do: sockets(t), Stream: true},
		},
		Acknowledged: func(ctx context.Context, l *stoptest.Life) error {
			newest, err := post(ctx, l.Addr)
			if err != nil {
				return err
			}
			err = listen(ctx, l.Addr, last, func(m message) (more bool) {
				if m.ID != last+1 {
					t.Errorf("events: message %d follows message %d", m.ID, last)
				}
				last = m.ID
				acknowledged.Delete(m.Text)
				return m.Text != newest
			})
			acknowledged.Range(func(text, _ any) bool { err = fmt.Errorf("message %s is missing", text); return false })
			return err
		},
		Lives: *lives,
		Start: 6 * time.Minute, // the ledger waits up to 5 minutes, as kills look like a crash loop
	})
}

// sockets returns a client that reads messages until the server says that it restarts. It
// begins after those that were read before.
func sockets(t *testing.T) func(ctx context.Context, addr string) error {
	var read atomic.Int64
	return func(ctx context.Context, addr string) error {
		last := read.Load()
		c, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/socket?after=%d", addr, last), nil)
		if err != nil {
			return err
		}
		defer c.CloseNow()
		for {
			var m message
			switch err := wsjson.Read(ctx, c, &m); {
			case websocket.CloseStatus(err) == websocket.StatusServiceRestart:
				return nil
			case err != nil:
				return err
			case m.ID != last+1:
				t.Errorf("socket: message %d follows message %d", m.ID, last)
			}
			last = m.ID
			read.Store(last)
			stoptest.Admitted(ctx)
		}
	}
}

// listen reads server-sent events after an id until the stream ends or heard returns false.
func listen(ctx context.Context, addr string, after int64, heard func(message) (more bool)) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/events", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Last-Event-ID", strconv.FormatInt(after, 10))
	answer, err := new(http.Transport).RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var m message
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			m.ID, err = strconv.ParseInt(id, 10, 64)
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && err == nil {
			if m.Text, err = strconv.Unquote(data); err == nil && !heard(m) {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
	return lines.Err()
}

// Nothing of the program runs on when run returns.
func TestNothingLeft(t *testing.T) {
	addr, admin, state := freeAddr(t), freeAddr(t), t.TempDir()
	ctx := lifecycle.VerifyNone(t)
	done := make(chan error, 1)
	go func() { done <- run(addr, admin, state, 0, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	for begin := time.Now(); stoptest.Get("http://"+admin+"/readyz").Do(ctx, "") != nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("not ready")
		}
	}
	stop := sync.OnceFunc(func() { syscall.Kill(os.Getpid(), syscall.SIGTERM) })
	err := stoptest.Post("/messages", "application/x-www-form-urlencoded", "text=hello").Do(ctx, addr) // ready means that it listens
	if err == nil {
		err = listen(ctx, addr, 0, func(message) bool { stop(); return true })
	}
	stop()
	if err := errors.Join(err, <-done); err != nil {
		t.Error(err)
	}
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
