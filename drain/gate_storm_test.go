package drain_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A crowd is a gate and what many goroutines saw of it. Its clock counts their steps:
// a step that ended before another began has the lower number.
type crowd struct {
	gate drain.Gate

	mu     sync.Mutex
	clock  int
	in     int  // how much work was admitted, less the work that is about to leave
	shut   bool // a caller was refused, or a Drain has returned
	visits []*stay
	gaveUp []span // the Drains that gave up

	hammering atomic.Int32
}

type span struct{ begin, end int }

// A stay is a piece of work that joined.
type stay struct {
	name        string
	join, leave span
	why         error // the cause of its context when it left, or nil
}

var errPatience = errors.New("out of patience")

// TestGateStorm has many goroutines enter, join, leave and be refused while others drain.
func TestGateStorm(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 15
	}
	for range rounds {
		var c crowd
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for _, f := range []func(*testing.T){c.enter, c.enter, c.enter, c.hammer, c.hammer, c.join, c.join, c.join, c.drain, c.drain} {
			wg.Go(func() { <-begin; f(t) })
		}
		wg.Go(func() {
			<-begin
			time.Sleep(rand.N(300 * time.Microsecond))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := c.gate.Drain(ctx); err != nil {
				t.Errorf("no work stays: %v", err)
			}
			c.drained(t)
			for cancel(); !t.Failed() && c.hammering.Load() > 0; {
				if err := c.gate.Drain(ctx); err != nil {
					t.Errorf("nothing is within, but some are refused: %v", err)
				}
			}
		})
		close(begin)
		wg.Wait()
		c.judge(t)
		if t.Failed() {
			return
		}
	}
}

// tick returns the next number of the clock. The caller holds mu.
func (c *crowd) tick() int {
	c.clock++
	return c.clock
}

func (c *crowd) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shut
}

// admitted records the answer of Enter or Join. wasShut says that the gate was known
// to be shut before that call.
func (c *crowd) admitted(t *testing.T, ok, wasShut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok {
		c.shut = true
		return
	}
	if wasShut {
		t.Error("admitted after shut")
	}
	c.in++
}

func (c *crowd) leaving() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in--
}

func (c *crowd) drained(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
	if c.in != 0 {
		t.Errorf("drained with %d within", c.in)
	}
}

func (c *crowd) enter(t *testing.T) {
	for range 1000 {
		known := c.known()
		ok := c.gate.Enter()
		c.admitted(t, ok, known)
		if ok {
			if rand.N(16) == 0 {
				time.Sleep(time.Microsecond)
			}
			c.leaving()
			c.gate.Leave()
		}
	}
}

// hammer only enters and leaves, and takes no lock. So its calls overlap with those of
// the other goroutines.
func (c *crowd) hammer(t *testing.T) {
	c.hammering.Add(1)
	defer c.hammering.Add(-1)
	refused := false
	for range 5000 {
		if !c.gate.Enter() {
			refused = true
			continue
		}
		c.gate.Leave()
		if refused {
			t.Error("admitted after a refusal")
		}
	}
}

func (c *crowd) join(t *testing.T) {
	for range 100 {
		known := c.known()
		c.mu.Lock()
		v := &stay{join: span{begin: c.tick()}}
		c.mu.Unlock()
		v.name = fmt.Sprintf("%09d", v.join.begin)
		ctx, leave, ok := c.gate.Join(t.Context(), v.name)
		c.admitted(t, ok, known)
		if !ok {
			continue
		}
		c.mu.Lock()
		v.join.end = c.tick()
		c.visits = append(c.visits, v)
		c.mu.Unlock()
		switch rand.N(8) {
		case 0:
			<-drain.Stopping(ctx).Done()
		case 1:
			<-ctx.Done() // until another goroutine's Drain gives up
		case 2, 3:
			time.Sleep(rand.N(50 * time.Microsecond))
		}
		c.leaving()
		c.mu.Lock()
		v.why, v.leave.begin = context.Cause(ctx), c.tick()
		c.mu.Unlock()
		leave()
		c.mu.Lock()
		v.leave.end = c.tick()
		c.mu.Unlock()
	}
}

func (c *crowd) drain(t *testing.T) {
	time.Sleep(rand.N(300 * time.Microsecond))
	ctx, cancel := context.WithTimeoutCause(t.Context(), rand.N(300*time.Microsecond), errPatience)
	defer cancel()
	var did span
	c.mu.Lock()
	did.begin = c.tick()
	c.mu.Unlock()
	err := c.gate.Drain(ctx)
	c.mu.Lock()
	did.end = c.tick()
	c.mu.Unlock()
	switch {
	case err == nil:
		c.drained(t)
	case errors.Is(err, errPatience):
		c.mu.Lock()
		c.shut = true
		c.gaveUp = append(c.gaveUp, did)
		c.mu.Unlock()
	default:
		t.Error(err)
	}
}

// judge compares the work that was cut with the work that should have been.
func (c *crowd) judge(t *testing.T) {
	cut := make(map[string]int)
	for i, name := range c.gate.Cut() {
		cut[name] = i + 1
	}
	var named []*stay
	for _, v := range c.visits {
		must := v.why == errPatience || slices.ContainsFunc(c.gaveUp, func(d span) bool { return v.join.end < d.begin && d.end < v.leave.begin })
		may := slices.ContainsFunc(c.gaveUp, func(d span) bool { return d.begin < v.leave.end })
		if was := cut[v.name] > 0; must && !was || was && !may {
			t.Errorf("cut %v, must %v, may %v", was, must, may)
		} else if was {
			named = append(named, v)
		}
	}
	if len(named) != len(cut) {
		t.Errorf("%d were cut, %d of them joined", len(cut), len(named))
	}
	for _, a := range named {
		for _, b := range named {
			if a.join.end < b.join.begin && cut[a.name] > cut[b.name] {
				t.Errorf("%s began before %s, and is named after it", a.name, b.name)
			}
		}
	}
}

// beside calls a and b with each gate, both at the same time.
func beside(gates []drain.Gate, a, b func(*drain.Gate)) {
	var turn atomic.Int64
	var wg sync.WaitGroup
	for _, f := range []func(*drain.Gate){a, b} {
		wg.Go(func() {
			for i := range gates {
				for turn.Add(1); turn.Load() < int64(2*i+2); {
					runtime.Gosched()
				}
				f(&gates[i])
			}
		})
	}
	wg.Wait()
}

// bounded returns a context for drains that have nothing to wait for.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(func() {
		if ctx.Err() != nil {
			t.Error("a Drain waited for nothing")
		}
		cancel()
	})
	return ctx
}

func pairs() []drain.Gate {
	if testing.Short() {
		return make([]drain.Gate, 2_000)
	}
	return make([]drain.Gate, 20_000)
}

// Work that joins beside a drain that gives up is refused, or announced, cut and named.
func TestGateJoinBesideDrain(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errPatience)
	var ctx context.Context
	var ok bool
	gates := pairs()
	drained := make(chan error, 1)
	joined := make(chan struct{})
	beside(gates, func(g *drain.Gate) {
		drained <- g.Drain(ended)
		<-joined
	}, func(g *drain.Gate) {
		ctx, _, ok = g.Join(t.Context(), "x")
		err := <-drained
		if ok && (drain.Stopping(ctx).Err() == nil || context.Cause(ctx) != errPatience || len(g.Cut()) != 1) || ok != errors.Is(err, errPatience) {
			t.Errorf("joined %v: Stopping ended: %v, cause %v, cut %v; Drain: %v", ok, drain.Stopping(ctx).Err(), context.Cause(ctx), g.Cut(), err)
		}
		joined <- struct{}{}
	})
}

// Work that joins beside a drain that waits is refused, or its Stopping context ends.
func TestGateStoppingBesideDrain(t *testing.T) {
	ctx := bounded(t)
	beside(pairs(), func(g *drain.Gate) { g.Drain(ctx) }, func(g *drain.Gate) {
		if ctx, leave, ok := g.Join(t.Context(), "x"); ok {
			<-drain.Stopping(ctx).Done()
			leave()
		}
	})
}

// A drain ends, whatever comes last: a Leave or a refused Enter.
func TestGateLeaveBesideEnter(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	ctx, gates := bounded(t), pairs()
	for i := range gates {
		gates[i].Enter()
		gates[i].Drain(ended)
	}
	beside(gates, (*drain.Gate).Leave, func(g *drain.Gate) { g.Enter() })
	for i := range gates {
		if err := gates[i].Drain(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// A drain that gives up as the last work leaves names what is within, or nothing.
func TestGateGivesUpBesideLeave(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	gates := pairs()
	for i := range gates {
		gates[i].Enter()
		gates[i].Drain(ended)
	}
	beside(gates, (*drain.Gate).Leave, func(g *drain.Gate) {
		for range 20 {
			g.Cut() // keeps Leave from recording that the gate is empty
			if err := g.Drain(ended); err != nil && strings.Contains(err.Error(), "drain: 0 still in") {
				t.Error(err)
			}
		}
	})
}

// A Leave without an Enter panics, whatever other calls run at the same time. The gate
// still counts and drains afterwards.
func TestGateMisuse(t *testing.T) {
	ctx, gates := bounded(t), pairs()
	leave := func(g *drain.Gate) { misuse(g) }
	beside(gates, leave, func(g *drain.Gate) { g.Drain(ctx) })
	beside(gates, leave, func(g *drain.Gate) {
		for range 5 {
			g.Enter()
		}
	})
	for i := range gates {
		if err := gates[i].Drain(ctx); err != nil || misuse(&gates[i]) == nil {
			t.Fatalf("Drain: %v, or a Leave too many did not panic", err)
		}
	}
}

func misuse(g *drain.Gate) (v any) {
	defer func() { v = recover() }()
	g.Leave()
	return nil
}
