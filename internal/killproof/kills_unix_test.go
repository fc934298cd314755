//go:build linux || darwin

package killproof

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
	"github.com/evenkeel-go/evenkeel/restart"
)

var kills = flag.Int("kills", 20, "how often TestKills kills the server")

// A request has a session that no other one has. It is written by its client, and read
// when all clients have ended.
type request struct {
	session  string
	path     string
	http2    bool
	sent     bool
	began    bool      // the client had the first byte
	last     bool      // the client had no byte of a later answer
	answered time.Time // the client had the whole answer
}

// clients sends requests one after the other until one fails, from 50 clients: half over
// a connection each, half over one connection of HTTP/2. Each client leaves one request
// that it did not send.
func clients(life int, addr string, rng *rand.Rand) (wait func() []*request) {
	const n = 50
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []*request
	for i := range n {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() {
			var mine []*request
			transport, http2 := &http.Transport{}, i%2 == 1
			defer transport.CloseIdleConnections()
			if http2 {
				transport = h2
			}
			for j, failed := 0, false; ; j++ {
				path := []string{"/short", "/long", "/big"}[rng.IntN(3)]
				r := &request{session: fmt.Sprintf("life %d, client %d, request %d", life, i, j), path: path, http2: http2}
				mine = append(mine, r)
				if failed {
					break
				}
				failed = !r.send(transport, addr)
				time.Sleep(time.Duration(rng.IntN(5e6))) // between two requests, the client has none in flight
			}
			for _, r := range slices.Backward(mine) {
				if r.last = true; r.began {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	return func() []*request {
		wg.Wait()
		h2.CloseIdleConnections()
		return all
	}
}

// send reports whether the whole answer arrived.
func (r *request) send(transport http.RoundTripper, addr string) bool {
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+r.path, nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Session", r.session)
	r.sent = true
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	r.began = true
	if _, err = io.Copy(io.Discard, resp.Body); err != nil {
		return false
	}
	r.answered = time.Now()
	return true
}

// A verdict counts what became of requests.
type verdict struct {
	cut, silent       int           // that had a first byte and no end; of these, not named
	ends              int           // cut, not named, the same, but allowed: of HTTP/2, and the handler had returned
	answered, accused int           // that ended well before the kill, or were not sent; of these, named
	just              int           // the same, but allowed: of HTTP/1, and the client's last answer
	justBefore        time.Duration // at most, from such an answer to the kill
	free, freeNamed   int           // the others
}

// judge compares what the clients saw with what the ledger says of the run. returned has
// the sessions of the handlers that returned.
func judge(t *testing.T, vs *[2]verdict, all []*request, killed time.Time, run restart.Run, returned map[string]bool) {
	for _, r := range all {
		v := &vs[0]
		if r.http2 {
			v = &vs[1]
		}
		named := run.Had(r.session)
		switch {
		case r.began && r.answered.IsZero():
			v.cut++
			if !named && r.http2 && returned[r.session] {
				v.ends++
			} else if !named {
				v.silent++
				t.Logf("silent: %+v", *r)
			}
		case !r.sent || !r.answered.IsZero() && r.answered.Before(killed):
			v.answered++
			if before := killed.Sub(r.answered); named && r.sent && r.last && !r.http2 {
				v.just++
				v.justBefore = max(v.justBefore, before)
			} else if named {
				v.accused++
				t.Logf("accused: %+v, %v before the kill", *r, before)
			}
		default:
			v.free++
			if named {
				v.freeNamed++
			}
		}
	}
}

// handled reads which sessions' handlers returned.
func handled(t *testing.T, path string) map[string]bool {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		all[strings.TrimSuffix(line, "\n")] = true
	}
	return all
}

// TestKills kills a server at random moments under load. The next Begin names each
// session whose client had a first byte and no end, and none whose request was not sent
// or was answered. The exceptions are those of drain.Server's Session: an HTTP/2
// answer whose handler had returned, and the instant after an HTTP/1 answer.
func TestKills(t *testing.T) {
	dir := t.TempDir()
	ledger := restart.Ledger{Path: filepath.Join(dir, "ledger")}
	t.Setenv(at, ledger.Path)
	rng := rand.New(rand.NewPCG(1, 2))
	var v [2]verdict      // of HTTP/1 and HTTP/2
	var before []*request // of the life before
	var killed time.Time
	for life := range *kills + 1 {
		t.Run(fmt.Sprint(life), func(t *testing.T) {
			t.Setenv(logTo, fmt.Sprint(dir, "/returned", life))
			p := proctest.Start(t, "server")
			addr := p.After("listening on ")
			if life > 0 {
				runs, err := ledger.Runs()
				if err != nil || len(runs) < 2 {
					t.Fatal(runs, err)
				}
				run := runs[len(runs)-2]
				if run.Cause != restart.Died || run.Unrecorded > 0 {
					t.Errorf("%+v", run)
				}
				judge(t, &v, before, killed, run, handled(t, fmt.Sprint(dir, "/returned", life-1)))
			}
			wait := clients(life, addr, rng)
			time.Sleep(20*time.Millisecond + time.Duration(rng.IntN(150e6))) // the moment is the test's case
			killed = time.Now()
			p.Signal(syscall.SIGKILL)
			if said, status := p.Ended(); status != 128+9 {
				t.Fatal(status, said)
			}
			before = wait()
		})
	}
	for i, v := range v {
		t.Logf("HTTP/%d, %d kills: %d cut, %d of them not named, %d more after their HTTP/2 handler; %d answered or not sent, %d of them named, %d more up to %v after their answer; %d between, %d of them named",
			i+1, *kills, v.cut, v.silent, v.ends, v.answered, v.accused, v.just, v.justBefore, v.free, v.freeNamed)
		if v.silent > 0 || v.accused > 0 || v.cut < *kills || v.answered < 10**kills {
			t.Errorf("%+v", v)
		}
	}
}
