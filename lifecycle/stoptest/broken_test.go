//go:build unix && !race

// What is judged here are other processes, which the race detector does not see. The
// engine's own tests run with it.

package stoptest_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

// Each of the servers in testdata/broken has one mistake. Check reports the promises that
// it breaks, and no others. It reports nothing of the server without a mistake.
func TestBroken(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it starts and stops 17 servers ten times each, and -short is set")
	}
	bin := filepath.Join(t.TempDir(), "broken")
	if out, err := exec.Command("go", "build", "-o", bin, "./testdata/broken").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list, err := exec.Command(bin, "-list").Output()
	if err != nil {
		t.Fatal(err)
	}
	var breaks map[string][]stoptest.Promise
	if err := json.Unmarshal(list, &breaks); err != nil {
		t.Fatal(err)
	}
	if len(breaks) != 17 {
		t.Fatalf("%d servers, want 17", len(breaks))
	}

	// Most of the time they wait, so more of them run than there are CPUs.
	results := make(map[string]func() (stoptest.Result, error))
	var all sync.WaitGroup
	defer all.Wait()
	places := make(chan struct{}, 6)
	for mistake := range breaks {
		done := make(chan struct{})
		var result stoptest.Result
		var err error
		all.Go(func() {
			places <- struct{}{}
			result, err = stoptest.Check(t.Context(), broken(bin, mistake))
			<-places
			close(done)
		})
		results[mistake] = func() (stoptest.Result, error) { <-done; return result, err }
	}
	for mistake, want := range breaks {
		t.Run(mistake, func(t *testing.T) {
			result, err := results[mistake]()
			if err != nil {
				t.Fatal(err)
			}
			if got := result.Broken(); !slices.Equal(got, want) {
				var report strings.Builder
				result.WriteText(&report)
				t.Errorf("broken: %q, want %q\n%s", got, want, &report)
			}
		})
	}
}

// broken is a server with a mistake. Its loads reach the mistake, in ten lives at most.
func broken(bin, mistake string) stoptest.Program {
	p := stoptest.Program{
		Command: func(l *stoptest.Life) *exec.Cmd {
			return exec.Command(bin, "-mistake", mistake, "-addr", l.Addr, "-dir", l.Dir)
		},
		Ready:  "/readyz",
		Load:   []stoptest.Load{stoptest.Get("/"), stoptest.Upload("/files", 64<<10), stoptest.Events("/events", "goodbye")},
		Lives:  10,
		Budget: 2 * time.Second,
	}
	var jobs jobs
	switch mistake {
	case "":
		p.Load = append(p.Load, socket, jobs.load(), stoptest.Silent())
		p.Acknowledged = jobs.missing
	case "Shutdown with the ended context":
		p.Lives = 8 // a probe holds up Shutdown too, so an idle server may exit with 1 or not
	case "forgets hijacked connections":
		p.Load = []stoptest.Load{socket}
	case "waits for a silent client":
		p.Load = append(p.Load, stoptest.Silent())
	case "loses acknowledged work":
		p.Load = []stoptest.Load{jobs.load()}
		p.Acknowledged = jobs.missing
	}
	return p
}

// socket reads lines from a connection that the server hijacked, until the goodbye.
var socket = stoptest.Load{Name: "SOCKET", Stream: true, Do: func(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n", addr)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "HTTP/1.1 503"):
			return stoptest.ErrRefused
		case line == "goodbye":
			return nil
		}
		stoptest.Admitted(ctx)
	}
	return cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
}}

// jobs are those that a server has accepted.
type jobs struct {
	mu       sync.Mutex
	sent     int
	accepted []string
}

func (j *jobs) load() stoptest.Load {
	return stoptest.Load{Name: "JOB", Do: func(ctx context.Context, addr string) error {
		j.mu.Lock()
		j.sent++
		name := fmt.Sprintf("job %d", j.sent)
		j.mu.Unlock()
		if err := stoptest.Post("/jobs", "text/plain", name+"\n").Do(ctx, addr); err != nil {
			return err
		}
		j.mu.Lock()
		j.accepted = append(j.accepted, name)
		j.mu.Unlock()
		return nil
	}}
}

// missing returns an error if the server's file lacks an accepted job.
func (j *jobs) missing(_ context.Context, l *stoptest.Life) error {
	text, err := os.ReadFile(filepath.Join(l.Dir, "jobs"))
	if err != nil {
		return err
	}
	done := strings.Split(string(text), "\n")
	j.mu.Lock()
	defer j.mu.Unlock()
	var missing []string
	for _, name := range j.accepted {
		if !slices.Contains(done, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d jobs are missing, such as %s", len(missing), len(j.accepted), missing[0])
	}
	return nil
}
