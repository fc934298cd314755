package drain_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A book is a Recorder with a few slots. It fails the test at a Leave that has no Enter.
type book struct {
	t    *testing.T
	gate *drain.Gate

	mu     sync.Mutex
	slots  [8]string
	within map[string]uint32 // 0 if there was no free slot
	seen   int
}

func newBook(t *testing.T, g *drain.Gate) *book {
	b := &book{t: t, gate: g, within: make(map[string]uint32)}
	g.Recorder = b
	return b
}

func (b *book) Enter(session string) uint32 {
	b.gate.Cut() // hangs if the gate holds its lock
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen++
	slot := uint32(1 + slices.Index(b.slots[:], ""))
	if slot > 0 {
		b.slots[slot-1] = session
	}
	if _, twice := b.within[session]; twice || session == "" {
		b.t.Errorf("session %q entered, twice: %v", session, twice)
	}
	b.within[session] = slot
	return slot
}

func (b *book) Leave(slot uint32) {
	b.gate.Cut()
	b.mu.Lock()
	defer b.mu.Unlock()
	if slot == 0 || b.slots[slot-1] == "" {
		b.t.Fatalf("slot %d left, which is empty", slot)
	}
	delete(b.within, b.slots[slot-1])
	b.slots[slot-1] = ""
}

// lists returns the sessions in the slots.
func (b *book) lists() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := slices.DeleteFunc(slices.Clone(b.slots[:]), func(s string) bool { return s == "" })
	slices.Sort(full)
	return full
}

// forget returns whether the session had a slot while it was within. If it had none,
// forget removes it, as the gate does not.
func (b *book) forget(session string) (had bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	slot, ok := b.within[session]
	if ok && slot > 0 && b.slots[slot-1] != session {
		b.t.Errorf("session %q is not in its slot", session)
	}
	if slot == 0 {
		delete(b.within, session)
	}
	return ok
}

// The recorder has each session from before Join returns until leave does, whatever
// drains and gives up meanwhile. It sees no session of refused work, nor of work
// without one, and is empty when Drain returns nil.
func TestRecorderStorm(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		var g drain.Gate
		b := newBook(t, &g)
		var wg sync.WaitGroup
		var mu sync.Mutex
		admitted, sessions := 0, make(map[string]bool)
		for i := range 12 {
			wg.Go(func() {
				for j := range 100 {
					session := fmt.Sprint(i, "/", j)
					if j%4 == 0 {
						session = ""
					}
					_, leave, ok := g.JoinSession(t.Context(), "job", session)
					if session == "" {
						leave()
						continue
					}
					if had := b.forget(session); had != ok {
						t.Errorf("admitted: %v, recorded: %v", ok, had)
					}
					if ok {
						mu.Lock()
						admitted++
						sessions[session] = true
						mu.Unlock()
					}
					if j%3 == 0 {
						time.Sleep(time.Microsecond)
					}
					var both sync.WaitGroup
					for range 1 + j%2 { // leave may be called again
						both.Go(leave)
					}
					both.Wait()
					if b.forget(session) {
						t.Errorf("session %q is recorded after it left", session)
					}
				}
			})
		}
		time.Sleep(100 * time.Microsecond)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		g.Drain(ctx)
		if err := g.Drain(t.Context()); err != nil || len(b.lists()) > 0 {
			t.Errorf("drained with %v in the recorder: %v", b.lists(), err)
		}
		wg.Wait()
		for _, s := range g.Cut() {
			if !sessions[s] && s != "job" {
				t.Errorf("%q was cut, but not admitted", s)
			}
		}
		if b.seen != admitted {
			t.Errorf("%d admitted, %d recorded", admitted, b.seen)
		}
	}
}

// A request is recorded until it has left the gate: after a panic, at the end of a
// hijacked connection, and after it was cut and has returned.
func TestRecorderServer(t *testing.T) {
	gate := new(drain.Gate)
	b := newBook(t, gate)
	s := serve(t, &drain.Server{Gate: gate, Session: func(r *http.Request) string { return r.FormValue("session") }}, nil)
	empty := func(after string) {
		t.Helper()
		for range 500 {
			if len(b.lists()) == 0 {
				return
			}
			time.Sleep(10 * ms)
		}
		t.Errorf("after %s the recorder still has %v", after, b.lists())
	}
	has := func(want ...string) {
		t.Helper()
		if got := b.lists(); !slices.Equal(got, want) {
			t.Errorf("the recorder has %v, want %v", got, want)
		}
	}
	s.ask("/?session=plain")
	s.ask("/readyz?session=exempt")
	s.ask("/")
	for range len(s.conns) {
		<-s.conns
	}
	empty("an answer")
	s.dial("GET /panic?session=panic HTTP/1.1\r\nHost: x\r\n\r\n")
	<-s.in
	empty("a panic")

	s.dial("GET /hijack?session=hijack HTTP/1.1\r\nHost: x\r\n\r\n")
	taken := <-s.taken
	<-s.in
	time.Sleep(20 * ms) // the handler returns
	has("hijack")
	taken.Close()
	empty("the end of the connection")

	go s.ask("/cut?session=cut")
	<-s.in
	go s.ask("/deaf")
	<-s.in
	has("cut")
	if _, err := s.end(200 * ms); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "session") {
		t.Errorf("the stop: %v", err)
	}
	empty("the cut")
	if got := gate.Cut(); !slices.Equal(got, []string{"cut", "GET /deaf"}) {
		t.Errorf("cut %q: want the session of a request, or its name if it has none", got)
	}
	if want := 4; b.seen != want {
		t.Errorf("%d requests recorded, want %d", b.seen, want)
	}
}

// one is a listener of the connections in a channel.
type one chan net.Conn

func (o one) Accept() (net.Conn, error) {
	if c, ok := <-o; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (o one) Close() error   { return nil }
func (o one) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// The handler has returned, but the client does not have the end of the answer: if the
// process died now, the session would be cut.
func TestRecorderAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gate drain.Gate
		b := newBook(t, &gate)
		web := &drain.Server{Gate: &gate, Session: func(r *http.Request) string { return r.URL.Path }, HTTP: &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }),
		}}
		ours, theirs := net.Pipe() // a write waits for its reader
		conns := make(one, 1)
		conns <- theirs
		served := make(chan error, 1)
		go func() { served <- web.Serve(t.Context(), conns) }()
		for range 2 {
			fmt.Fprint(ours, "GET /user HTTP/1.1\r\nHost: x\r\n\r\n")
			synctest.Wait()
			if got := b.lists(); !slices.Equal(got, []string{"/user"}) {
				t.Errorf("before the answer, the recorder has %v", got)
			}
			if _, err := http.ReadResponse(bufio.NewReader(ours), nil); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if got := b.lists(); len(got) > 0 {
				t.Errorf("after the answer, the recorder has %v", got)
			}
		}
		close(conns)
		if err := web.Step().Stop(t.Context()); err != nil {
			t.Error(err)
		}
		<-served // with what Accept returned
	})
}

// Requests that arrive through Handler are recorded once, and not if they are refused.
func TestRecorderHandler(t *testing.T) {
	web := &drain.Server{Gate: new(drain.Gate), Session: func(r *http.Request) string { return r.URL.Path }}
	b := newBook(t, web.Gate)
	var during []string
	h := web.Handler(web.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { during = b.lists() })))
	ask := func() int {
		r := httptest.NewRequest("GET", "/user", nil)
		r.ProtoMajor = 3
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	if code := ask(); code != http.StatusOK || !slices.Equal(during, []string{"/user"}) || len(b.lists()) > 0 {
		t.Errorf("%d, recorded %v, after it %v", code, during, b.lists())
	}
	if err := web.Gate.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if code := ask(); code != http.StatusServiceUnavailable || b.seen != 1 {
		t.Errorf("%d, recorded %d requests: %v", code, b.seen, slices.Collect(maps.Keys(b.within)))
	}
}

// An entry with a recorder allocates what Join does.
func TestRecorderAllocations(t *testing.T) {
	with, without := drain.Gate{Recorder: counter{}}, drain.Gate{}
	cost := func(g *drain.Gate) float64 {
		return testing.AllocsPerRun(100, func() {
			_, leave, _ := g.JoinSession(t.Context(), "job", "session")
			leave()
		})
	}
	if a, b := cost(&with), cost(&without); a > b {
		t.Errorf("%v allocations with a recorder, %v without", a, b)
	}
}

type counter struct{}

func (counter) Enter(string) uint32 { return 1 }
func (counter) Leave(uint32)        {}
