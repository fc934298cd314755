// Package leasesim hands a restart.Lease over again and again, among processes that
// die, pause and lose their network. Run it in a bubble of testing/synctest.
package leasesim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/restart"
	"github.com/evenkeel-go/evenkeel/restart/leasetest"
)

// The lease's times, and the longest that a message takes in a calm network.
const (
	ttl      = 15 * time.Second
	interval = ttl / 10
	margin   = ttl / 4
	flight   = 5 * time.Millisecond
)

// A Write is one call to the store that the lease guards.
type Write struct {
	Process  int // the run of a process that wrote
	Term     uint64
	N        int           // counts the accepted writes of a term, from 1
	Accepted bool          // no later term had written
	Call     time.Duration // when it was sent, since the start
	Return   time.Duration // when the answer came, or when the store had done it if that was lost
}

// A Result is what happened.
type Result struct {
	Writes                   []Write
	HandOvers, Orderly, Deaf int
	Gap                      time.Duration // the longest after an orderly stop in a calm network
	Faults                   []string      // broken promises
}

type world struct {
	register leasetest.Memory
	rand     *rand.Rand
	over     chan struct{} // closed at the end
	all      sync.WaitGroup
	start    time.Time

	mu      sync.Mutex
	rough   bool   // messages get lost, doubled and late
	term    uint64 // the highest that a function has begun with
	writer  uint64 // the highest that has written
	counts  map[uint64]int
	holders map[uint64]*process // by term
	began   chan *process       // a function has begun
	result  Result
}

// Run makes n hand-overs.
func Run(seed uint64, n int) Result {
	w := &world{rand: rand.New(rand.NewPCG(seed, 0)), over: make(chan struct{}), start: time.Now(),
		counts: map[uint64]int{}, holders: map[uint64]*process{}, began: make(chan *process, 1000)}
	processes := map[*process]bool{}
	for range 3 {
		processes[w.spawn()] = true
	}
	for w.handOvers() < n {
		select {
		case <-w.began:
		case <-time.After(4 * ttl): // what happened did not end the last one
		}
		w.sleep(3 * interval)
		if holder := w.holder(); holder != nil {
			w.handOver(holder, processes)
		}
	}
	close(w.over)
	for p := range processes {
		p.cancel()
	}
	w.all.Wait()
	w.result.HandOvers = len(w.holders) - 1
	return w.result
}

// handOver ends a holder in one way or another.
func (w *world) handOver(p *process, processes map[*process]bool) {
	how := w.n(8)
	w.locked(func() {
		w.rough = how != 0 && w.rand.IntN(2) == 0
	})
	switch how {
	case 0: // an orderly stop in a calm network
		w.orderly(processes)
	case 1: // an orderly stop
		p.cancel()
		delete(processes, p)
		processes[w.spawn()] = true
	case 2: // SIGKILL
		p.pause(nil)
		delete(processes, p)
		defer p.cancel()
		processes[w.spawn()] = true
	case 3: // SIGSTOP, or a machine that sleeps; others with it
		for q := range processes {
			if q == p || w.n(4) == 0 {
				until := make(chan struct{})
				q.pause(until)
				time.AfterFunc(w.upTo(3*ttl), func() { close(until) })
			}
		}
	case 4: // its network is gone, or only the answers
		p.lose(w.n(2) == 0, w.upTo(3*ttl))
	case 5: // the engine is gone
		d := w.upTo(2 * ttl)
		for q := range processes {
			q.lose(w.n(2) == 0, d)
		}
	case 6: // its work fails
		p.fail()
	case 7: // its network is gone, and its work does not end in time
		p.deafen()
		p.lose(true, w.upTo(3*ttl))
	}
}

// orderly stops p when all is calm, and measures how long no process holds the lease.
func (w *world) orderly(processes map[*process]bool) {
	time.Sleep(8 * ttl) // what was rough is over
	last := w.holder()
	for len(w.began) > 0 {
		<-w.began
	}
	last.cancel()
	delete(processes, last)
	processes[w.spawn()] = true
	<-last.returned
	at := time.Now()
	next := <-w.began
	gap := time.Since(at)
	w.began <- next
	w.locked(func() {
		w.result.Orderly++
		w.result.Gap = max(w.result.Gap, gap)
		if gap > interval+6*flight {
			w.faultLocked("no holder for %v after an orderly stop", gap)
		}
	})
}

func (w *world) faultLocked(format string, args ...any) {
	w.result.Faults = append(w.result.Faults, fmt.Sprintf("%v: ", time.Since(w.start))+fmt.Sprintf(format, args...))
}

func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) holder() (p *process) {
	w.locked(func() { p = w.holders[w.term] })
	return p
}

// handOvers is how many terms began after the first.
func (w *world) handOvers() (n int) {
	w.locked(func() { n = max(0, len(w.holders)-1) })
	return n
}

func (w *world) n(n int) (k int) {
	w.locked(func() { k = w.rand.IntN(n) })
	return k
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.n(int(d))) }

func (w *world) sleep(d time.Duration) { time.Sleep(w.upTo(d)) }

// A process runs one lease until it is stopped.
type process struct {
	*world
	id       int
	ctx      context.Context
	cancel   context.CancelFunc
	returned chan struct{} // closed when the function has returned after a stop

	mu      sync.Mutex
	stopped <-chan struct{} // until it is closed, the process does nothing; nil if it runs
	cut     time.Time       // until then it gets no answers
	mute    bool            // and its requests get lost
	failing bool
	deaf    bool
}

func (w *world) spawn() *process {
	p := &process{world: w, id: w.n(1 << 62), returned: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	lease := restart.Lease{Register: p, TTL: ttl, Logger: slog.New(slog.DiscardHandler)}
	w.all.Go(func() {
		for p.ctx.Err() == nil {
			err := lease.Wrap(p.work)(p.ctx)
			var permanent interface{ Permanent() bool }
			if errors.As(err, &permanent) {
				w.locked(func() { w.result.Deaf++ })
			}
		}
	})
	return p
}

func (p *process) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// pause stops the process at its next point, until then. A nil until is for ever.
func (p *process) pause(until <-chan struct{}) {
	if until == nil {
		until = p.over
	}
	p.set(func() { p.stopped = until })
}

func (p *process) lose(requests bool, d time.Duration) {
	p.set(func() { p.cut, p.mute = time.Now().Add(d), requests })
}

func (p *process) fail()   { p.set(func() { p.failing = true }) }
func (p *process) deafen() { p.set(func() { p.deaf = true }) }

// point is where a process may be paused.
func (p *process) point() {
	var until <-chan struct{}
	p.set(func() { until = p.stopped })
	if until != nil {
		select {
		case <-until:
		case <-p.over:
		}
	}
}
