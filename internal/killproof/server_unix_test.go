//go:build linux || darwin

package killproof

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/proctest"
	"github.com/evenkeel-go/evenkeel/restart"
)

func TestMain(m *testing.M) {
	proctest.Main(map[string]func(){"server": serve})
	goleak.VerifyTestMain(m)
}

// The environment of the server: the ledger, and the file for the sessions whose
// handlers have returned, if any.
const (
	at    = "EVENKEEL_TEST_LEDGER"
	logTo = "EVENKEEL_TEST_LOG"
)

// stable is how long a session is suspected after the last death.
const stable = 2 * time.Second

// killsAfter is how long the process lives after a killer's request began.
const killsAfter = 100 * time.Millisecond

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// serve is the program under test.
func serve() {
	ledger := &restart.Ledger{Path: os.Getenv(at), Policy: restart.Policy{Min: 1, Max: 1, Stable: stable, Logger: slog.New(slog.DiscardHandler)}}
	requests := drain.Gate{Recorder: ledger.Box()}
	must(ledger.Begin(context.Background()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	web := &drain.Server{
		HTTP: &http.Server{Handler: noting(guard(ledger.Box(), routes(&requests))), Protocols: new(http.Protocols)},
		Gate: &requests, Session: sessionOf,
	}
	web.HTTP.Protocols.SetHTTP1(true)
	web.HTTP.Protocols.SetUnencryptedHTTP2(true)
	fmt.Println("listening on", l.Addr())
	must(web.Serve(context.Background(), l))
}

// sessionOf returns the session of the request. The stream of messages has none: each
// message has it.
func sessionOf(r *http.Request) string {
	if r.URL.Path == "/messages" {
		return ""
	}
	return r.Header.Get("Session")
}

// noting writes down which sessions' handlers return, before they leave the gate.
func noting(next http.Handler) http.Handler {
	path := os.Getenv(logTo)
	if path == "" {
		return next
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	must(err)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		f.WriteString(sessionOf(r) + "\n")
	})
}

func guard(box *restart.Box, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if box.Suspect(r.Header.Get("Session")) {
			http.Error(w, "suspected", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func routes(requests *drain.Gate) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(5 * time.Millisecond)
		io.WriteString(w, "hello")
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) {
		for range 5 {
			part(w)
			time.Sleep(3 * time.Millisecond)
		}
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", 200_000))
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			part(w)
			time.Sleep(50 * time.Millisecond)
		}
	})
	mux.HandleFunc("/messages", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			part(w)
			time.Sleep(time.Duration(rand.IntN(90)) * time.Millisecond)
			_, leave, _ := requests.JoinSession(r.Context(), "message", r.Header.Get("Session"))
			time.Sleep(5 * time.Millisecond)
			leave()
		}
	})
	mux.HandleFunc("/kill", func(w http.ResponseWriter, r *http.Request) {
		part(w)
		time.Sleep(killsAfter)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	})
	return mux
}

func part(w http.ResponseWriter) {
	io.WriteString(w, "part\n")
	http.NewResponseController(w).Flush()
}
