//go:build linux || darwin

package killproof

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

var runs = flag.Int("runs", 1, "how often TestKiller runs each of its cases; with 1, those that can fail")

// mostDeaths is when a case gives up on a killer that goes on.
const mostDeaths = 5

// A crowd is the clients beside the killer. Each has one session for all of its requests.
type crowd struct {
	name  string
	n     int
	path  string
	pause time.Duration // at most, between two requests
	stops bool          // the killer must be stopped; if not, the case is for its figures
}

var crowds = []crowd{
	{"20 short requests", 20, "/short", 100 * time.Millisecond, true},
	{"20 streams, again at once", 20, "/events", 0, false},
	{"200 streams, again at once", 200, "/events", 0, false},
	{"20 streams, again within 2 s", 20, "/events", 2 * time.Second, true},
	{"200 streams, again within 2 s", 200, "/events", 2 * time.Second, false},
	{"20 streams of messages with a session each, again at once", 20, "/messages", 0, true},
	{"200 streams of messages with a session each, again at once", 200, "/messages", 0, false},
}

// An outcome is what one run of a case showed.
type outcome struct {
	deaths   int
	stopped  bool          // the killer was refused
	suspects int           // innocent sessions that were refused
	longest  time.Duration // from the last death until an innocent session's last refusal
}

// A visitor sends its requests to whichever process lives.
type visitor struct {
	*world
	session string
	path    string
	pause   time.Duration

	refused, served atomic.Int64 // when last, in ns since the world began; 0 if never
}

// A world is the supervisor's view of one run of a case.
type world struct {
	began  time.Time
	addr   atomic.Pointer[string] // nil while no process lives
	died   time.Duration          // when the last process did, since began
	http   *http.Transport
	killer *visitor
	others []*visitor
	disarm func() // ends the killer's visits
}

func (v *visitor) visit(ctx context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		if !first {
			time.Sleep(time.Duration(float64(v.pause) * rand.Float64()))
		}
		addr := v.addr.Load()
		if addr == nil || !v.ask(ctx, *addr) {
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// ask reports whether the session was not refused.
func (v *visitor) ask(ctx context.Context, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+v.path, nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Session", v.session)
	resp, err := v.http.RoundTrip(req)
	if err != nil {
		return true
	}
	defer resp.Body.Close()
	now := int64(time.Since(v.began))
	if resp.StatusCode == http.StatusServiceUnavailable {
		v.refused.Store(now)
		return false
	}
	v.served.Store(now)
	io.Copy(io.Discard, resp.Body)
	return true
}

// run starts the server again after each death, until the killer was refused and the
// suspicion has ended, or mostDeaths.
func (c crowd) run(t *testing.T) (o outcome) {
	t.Setenv(at, filepath.Join(t.TempDir(), "ledger"))
	ctx, cancel := context.WithCancel(t.Context())
	killing, disarm := context.WithCancel(ctx)
	w := &world{began: time.Now(), http: &http.Transport{MaxIdleConnsPerHost: c.n + 1}, disarm: disarm}
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
		w.http.CloseIdleConnections()
	}()
	for i := range c.n {
		v := &visitor{world: w, session: fmt.Sprint("innocent ", i), path: c.path, pause: c.pause}
		w.others = append(w.others, v)
		wg.Go(func() { v.visit(ctx) })
	}
	w.killer = &visitor{world: w, session: "killer", path: "/kill"}
	wg.Go(func() {
		for w.addr.Load() == nil && ctx.Err() == nil {
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(300 * time.Millisecond) // the others are there before the killer
		w.killer.visit(killing)
	})
	for o.deaths < mostDeaths && !o.stopped {
		if o.stopped = w.life(t); !o.stopped {
			o.deaths++
		}
	}
	for _, v := range w.others {
		if last := time.Duration(v.refused.Load()); last > 0 {
			o.suspects++
			o.longest = max(o.longest, last-w.died)
		}
	}
	return o
}

// life runs one process until it dies, or until it has refused the killer and serves the
// others again. Then it reports true.
func (w *world) life(t *testing.T) (stopped bool) {
	p := proctest.Start(t, "server")
	addr := p.After("listening on ")
	w.addr.Store(&addr)
	ended := make(chan int, 1)
	go func() { _, status := p.Ended(); ended <- status }() // ends with the process
	defer w.addr.Store(nil)
	tick, late := time.NewTicker(5*time.Millisecond), time.After(15*time.Second)
	defer tick.Stop()
	for {
		select {
		case status := <-ended:
			w.died = time.Since(w.began)
			if status != 128+9 {
				t.Fatalf("exit status %d", status)
			}
			return false
		case <-late:
			p.Process.Kill()
			<-ended
			t.Fatal("the killer was not refused, and did not kill; or others are suspected for too long")
		case <-tick.C:
		}
		switch now := time.Since(w.began); {
		case w.killer.refused.Load() == 0:
		case now > w.died+stable && !slices.ContainsFunc(w.others, func(v *visitor) bool { return v.refused.Load() > v.served.Load() }):
			p.Process.Kill()
			<-ended
			return true
		case now > w.died+stable*3/4:
			w.disarm() // or it would kill again when its suspicion ends
		}
	}
}

// TestKiller has a session that kills the process whenever it gets in. If the others are
// in flight for a short time, or reconnect after some time, there is no third death. If
// many others are always in flight, no session is suspected.
func TestKiller(t *testing.T) {
	for _, c := range crowds {
		if !c.stops && *runs == 1 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			stopped := 0
			deaths, suspects := make(map[int]int), make(map[int]int)
			var longest time.Duration
			for i := range *runs {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					o := c.run(t)
					deaths[o.deaths]++
					suspects[o.suspects]++
					longest = max(longest, o.longest)
					if o.stopped {
						stopped++
					}
					if c.stops && (!o.stopped || o.deaths != 2) || o.suspects > 8 {
						t.Errorf("%+v", o)
					}
				})
			}
			t.Logf("%d runs: the killer was stopped in %d; runs by deaths (at most %d): %v; runs by innocent suspects: %v, the longest for %v of %v",
				*runs, stopped, mostDeaths, deaths, suspects, longest.Round(time.Millisecond), stable)
		})
	}
}
