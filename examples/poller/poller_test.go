//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

func TestMain(m *testing.M) {
	if os.Getenv("EVENKEEL_POLLER") != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// A process is one of the pollers.
type process struct {
	cmd    *exec.Cmd
	took   chan struct{} // closed at the first update that it handles
	ended  chan error
	killed bool
}

// A relay is one bot, polled by one process while another waits.
type relay struct {
	t    *testing.T
	args []string

	mu      sync.Mutex
	handled map[int][]*process // who handled an update, in order
}

func (r *relay) start() *process {
	p := &process{cmd: exec.Command(os.Args[0], r.args...), took: make(chan struct{}), ended: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), "EVENKEEL_POLLER=1", "GORACE=atexit_sleep_ms=0")
	var log strings.Builder
	p.cmd.Stderr = &log
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		r.t.Error(err)
		return nil
	}
	go func() {
		took := sync.OnceFunc(func() { close(p.took) })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			id, err := strconv.Atoi(lines.Text())
			if err != nil {
				r.t.Errorf("printed %q", lines.Text())
			}
			r.mu.Lock()
			r.handled[id] = append(r.handled[id], p)
			r.mu.Unlock()
			took()
		}
		err := p.cmd.Wait()
		if err != nil && !p.killed {
			r.t.Errorf("%v:\n%s", err, &log)
		}
		p.ended <- err
	}()
	return p
}

// TestHandOver runs ten bots, each through ten hand-overs of which half follow a
// SIGKILL.
func TestHandOver(t *testing.T) {
	bots, handOvers := 10, 10
	if testing.Short() {
		bots, handOvers = 2, 4
	}
	lock := filepath.Join(t.TempDir(), "lock")
	var all sync.WaitGroup
	for i := range bots {
		a := newAPI()
		server := httptest.NewServer(a)
		defer server.Close()
		proxy := flaky(t, server.Listener.Addr().String())
		r := &relay{t: t, handled: make(map[int][]*process), args: []string{"-api", "http://" + proxy, "-token", fmt.Sprint("bot", i), "-poll", "1s", "-lock", lock}}
		all.Go(func() {
			r.run(a, handOvers)
			r.check(a)
		})
	}
	all.Wait()
}

func (r *relay) run(a *api, handOvers int) {
	ctx, stop := context.WithCancel(r.t.Context())
	var adding sync.WaitGroup
	adding.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
			a.add()
		}
	})
	polls := r.start()
	for i := range handOvers {
		r.await(polls.took, "update")
		waits := r.start()
		time.Sleep(time.Duration(i) * 20 * time.Millisecond)
		if i%2 == 0 {
			polls.killed = true
			polls.cmd.Process.Kill()
		} else {
			polls.cmd.Process.Signal(syscall.SIGTERM)
		}
		r.end(polls)
		polls = waits
	}
	r.await(polls.took, "update")
	stop()
	adding.Wait()
	for end := time.Now().Add(30 * time.Second); a.waiting() > 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	polls.cmd.Process.Signal(syscall.SIGTERM)
	r.end(polls)
}

func (r *relay) await(c <-chan struct{}, what string) {
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		r.t.Errorf("no %s", what)
	}
}

func (r *relay) end(p *process) {
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		r.t.Error("a poller does not end")
		p.cmd.Process.Kill()
		<-p.ended
	}
}

func (r *relay) check(a *api) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	again := 0
	for id := 1; id <= a.last; id++ {
		by := r.handled[id]
		if len(by) == 0 {
			r.t.Errorf("update %d was lost", id)
		}
		for i, p := range by[:max(len(by)-1, 0)] {
			again++
			if !p.killed || by[i+1] == p {
				r.t.Errorf("update %d was handled twice", id)
			}
		}
	}
	if a.conflicts > 0 {
		r.t.Errorf("%d conflicts", a.conflicts)
	}
	r.t.Logf("%d updates, %d again after a kill, told to wait %d times", a.last, again, a.patience)
}

// TestNothingLeft runs the program inside the test.
func TestNothingLeft(t *testing.T) {
	a := newAPI()
	a.calm = true
	server := httptest.NewServer(a)
	defer server.Close()
	lifecycle.VerifyNone(t)
	a.add()
	b := &bot{api: server.URL, token: "x", timeout: time.Second, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	go func() { // it ends as soon as the poller has got the update
		<-a.given
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}()
	if err := run(b, filepath.Join(t.TempDir(), "lock")); err != nil {
		t.Error(err)
	}
	if n := a.waiting(); n != 0 {
		t.Errorf("%d updates not confirmed", n)
	}
}

func TestFlags(t *testing.T) {
	for _, b := range []*bot{{timeout: time.Second}, {token: "x", timeout: time.Millisecond}} {
		if err := run(b, "lock"); lifecycle.ExitCode(err) != 78 {
			t.Errorf("got %v", err)
		}
	}
}
