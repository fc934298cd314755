package stoptest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A traffic is the clients of one life: two for each load.
type traffic struct {
	life *life
	ctx  context.Context // of all calls
	all  sync.WaitGroup  // the clients

	mu      sync.Mutex
	done    []record
	open    map[*call]bool // true if it stopped in its middle
	warm    []bool         // by load: a call succeeded
	failed  error          // the first failure before the signal
	armed   bool           // calls may stop in their middle
	aimed   chan struct{}  // closed when the call that was aimed at is in its middle
	reached func()         // closes aimed
	resting chan struct{}  // closed when no client may begin a further call
	idle    context.CancelFunc
}

// A record is a call that has ended, or that ended with the life.
type record struct {
	load  int
	began time.Time
	ended time.Time
	end   end
	err   error
}

func newTraffic(ctx context.Context, l *life) *traffic {
	t := &traffic{life: l, open: map[*call]bool{}, warm: make([]bool, len(l.program.Load)), resting: make(chan struct{})}
	t.aimed = make(chan struct{})
	t.reached = sync.OnceFunc(func() { close(t.aimed) })
	t.ctx, t.idle = context.WithCancel(ctx)
	return t
}

// begin starts all clients, and returns when each load has succeeded once.
func (t *traffic) begin(ctx context.Context) error {
	for load := range t.life.program.Load {
		t.all.Go(func() { t.client(load, nil) })
		t.all.Go(func() {
			kept := new(http.Transport)
			defer kept.CloseIdleConnections()
			t.client(load, kept)
		})
	}
	until := time.Now().Add(t.life.program.Start)
	for {
		t.mu.Lock()
		cold, failed := slices.Index(t.warm, false), t.failed
		t.mu.Unlock()
		switch {
		case failed != nil:
			return &errStart{failed.Error(), true}
		case cold < 0:
			return nil
		case time.Now().After(until):
			return &errStart{fmt.Sprintf("%s was not answered within %v", t.life.program.Load[cold].Name, t.life.program.Start), true}
		}
		if err := t.life.sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// client makes one call after the other, until the program is gone. As one behind a load
// balancer, it rests when the program is not ready, and tries once more when new
// connections are refused.
func (t *traffic) client(load int, kept *http.Transport) {
	w := t.life.watch
	refusals, last := 0, false
	for {
		r := t.one(load, kept)
		if r.end == refused {
			refusals++
		}
		if last || refusals == 3 || t.life.program.Load[load].Silent {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.life.proc.ended:
			return
		case <-t.resting:
			<-t.life.proc.ended // the connection is kept until then
			return
		case <-t.ctx.Done():
			return
		}
		select {
		case <-w.notReady:
			last = true
			select {
			case <-w.refusing:
			case <-t.life.proc.ended:
				return
			case <-t.ctx.Done():
				return
			}
		default:
		}
	}
}

// one makes a call.
func (t *traffic) one(load int, kept *http.Transport) record {
	l := t.life.program.Load[load]
	c := &call{load: load, kept: kept, pause: t.pause, began: time.Now()}
	t.mu.Lock()
	t.open[c] = false
	if l.Silent {
		t.warm[load] = true
	}
	t.mu.Unlock()
	err := l.Do(context.WithValue(t.ctx, callKey{}, c), t.life.Addr)
	r := record{load, c.began, time.Now(), c.endOf(err), err}
	if r.end == lost && t.ctx.Err() != nil {
		r.end = unproven // this side gave up
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	select {
	case <-t.life.signalled:
		t.done = append(t.done, r)
		if r.end == lost {
			session := fmt.Sprintf("%s #%d", l.Name, len(t.done))
			t.life.notes.add("response began", []any{"pid", t.life.proc.program.Pid, "who", t.life.proc.name, "session", session})
			t.life.notes.add("cut", []any{"who", "client", "session", session, "error", short(err)})
		}
	default:
		switch {
		case err == nil, err == errNoFraming:
			t.warm[load] = true
		case t.ctx.Err() == nil && t.failed == nil && !(l.Stream && t.warm[load]):
			t.failed = fmt.Errorf("%s failed before the program was stopped: %w", l.Name, err)
		}
	}
	return r
}

// pause is what Admitted does in the middle of a call.
func (t *traffic) pause(ctx context.Context, c *call) {
	m, l := t.life.moment, t.life
	t.mu.Lock()
	t.warm[c.load] = t.warm[c.load] || l.program.Load[c.load].Stream
	stops := t.armed && (m.holds() || m.when == middle && m.load == c.load)
	select {
	case <-l.signalled:
		stops = false
	default:
	}
	if stops {
		t.open[c] = true
		t.reached()
	}
	t.mu.Unlock()
	if !stops {
		return
	}
	until := l.signalled
	if m.holds() {
		until = nil // the exit
	}
	select {
	case <-until:
	case <-ctx.Done():
	case <-l.proc.ended:
	}
	for range pause / tick { // on a busy machine each one takes longer, for the program too
		l.wait(ctx, tick)
	}
}

// aim waits until a call is in its middle, if that is the moment. A stream that is open
// already is in its middle.
func (t *traffic) aim(ctx context.Context) error {
	t.mu.Lock()
	m := t.life.moment
	t.armed = true
	t.mu.Unlock()
	switch {
	case m.when == middle && !t.life.program.Load[m.load].Stream:
		select {
		case <-t.aimed:
		case <-time.After(5 * time.Second): // its Do may not call Admitted
		case <-t.life.proc.ended:
		case <-ctx.Done():
		}
	case m.holds():
		for range 20 { // on a busy machine; and a Do that does not call Admitted is never held
			if err := t.life.sleep(ctx, 100*time.Millisecond); err != nil || t.holdsEach() {
				return err
			}
		}
	}
	return t.life.alive(ctx)
}

// holdsEach reports whether a call of each load is held in its middle, of those that may
// hold up a stop.
func (t *traffic) holdsEach() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	held := make([]bool, len(t.life.program.Load))
	for c, in := range t.open {
		held[c.load] = held[c.load] || in
	}
	for i, l := range t.life.program.Load {
		if !held[i] && !l.Stream && !l.Silent {
			return false
		}
	}
	return true
}

// rest waits for the calls that are open, and ends streams and silent connections. Further
// calls do not begin.
func (t *traffic) rest() {
	close(t.resting)
	t.waitFor(func(l Load) bool { return !l.Stream && !l.Silent })
	t.idle()
	t.waitFor(func(Load) bool { return true })
}

// waitFor waits until no call of certain loads is open, for 10 s at most.
func (t *traffic) waitFor(which func(Load) bool) {
	for range 1000 {
		open := false
		t.mu.Lock()
		for c := range t.open {
			open = open || which(t.life.program.Load[c.load])
		}
		t.mu.Unlock()
		if !open {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// inMiddle returns how many admitted calls are held in their middle.
func (t *traffic) inMiddle() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c, in := range t.open {
		if in && c.proved.Load() {
			n++
		}
	}
	return n
}

// records returns the calls that had not ended at the first signal.
func (t *traffic) records() []record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}
