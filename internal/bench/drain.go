package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/waitgroup"

	"github.com/evenkeel-go/evenkeel/drain"
)

// parallel times n calls of f from four goroutines.
func parallel(n int, f func()) time.Duration {
	begin := time.Now()
	spawners(n, f)
	return time.Since(begin)
}

func gateOurs(n int) time.Duration {
	var g drain.Gate
	return parallel(n, func() {
		if g.Enter() {
			g.Leave()
		}
	})
}

func waitGroupPeer(n int) time.Duration {
	var wg sync.WaitGroup
	return parallel(n, func() { wg.Add(1); wg.Done() })
}

func safeWaitGroupPeer(n int) time.Duration {
	var wg waitgroup.SafeWaitGroup
	return parallel(n, func() {
		if wg.Add(1) == nil {
			wg.Done()
		}
	})
}

// plan is phases of steps that call stop.
func plan(phases, steps int, stop func(context.Context) error) *drain.Plan {
	p := &drain.Plan{}
	for i := range phases {
		ph := drain.Phase{Name: strconv.Itoa(i)}
		for j := range steps {
			ph.Steps = append(ph.Steps, drain.Step{Name: strconv.Itoa(j), Stop: stop})
		}
		p.Phases = append(p.Phases, ph)
	}
	return p
}

// plansOurs times Run alone, as the peer needs no names.
func plansOurs(n int) time.Duration {
	phases := plan(10, 100, nothing).Phases
	return timed(func() { (&drain.Plan{Phases: phases}).Run(context.Background()) })(n)
}

func plansPeer(n int) time.Duration {
	begin := time.Now()
	for range n {
		for range 10 {
			g, ctx := errgroup.WithContext(context.Background())
			for range 100 {
				g.Go(func() error { return nothing(ctx) })
			}
			g.Wait()
		}
	}
	return time.Since(begin)
}

const nap = 50 * time.Millisecond

func napping(context.Context) error { time.Sleep(nap); return nil }

// silent keeps quiet about the steps that return late.
var silent = slog.New(slog.DiscardHandler)

// stubborn returns how far a plan overruns its budget if its steps and Kills ignore
// everything.
func stubborn() (string, bool) {
	const budget = time.Second
	free := make(chan struct{})
	p := plan(4, 25, func(context.Context) error { <-free; return nil })
	p.Budget, p.Logger = budget, silent
	for i := range p.Phases {
		for j := range p.Phases[i].Steps {
			p.Phases[i].Steps[j].Kill = func() { <-free }
		}
	}
	begin := time.Now()
	p.Run(context.Background())
	over := float64(time.Since(begin)-budget) / float64(budget)
	close(free)
	return fmt.Sprintf("%.2f %%, bar 5 %%", 100*over), over <= 0.05
}

// overrun returns the median of ten overruns of a plan's budget. run gets the channel
// that frees the steps that ignore everything.
func overrun(bar time.Duration, run func(free chan struct{}) (over time.Duration, ok bool)) func() (string, bool) {
	return func() (string, bool) {
		var overs []time.Duration
		all := true
		for range 10 {
			free := make(chan struct{})
			over, ok := run(free)
			close(free)
			overs, all = append(overs, over), all && ok
			time.Sleep(100 * time.Millisecond) // what was abandoned ends
		}
		slices.Sort(overs)
		median := (overs[4] + overs[5]) / 2
		return fmt.Sprintf("%v, worst %v, bar %v", median.Round(100*time.Microsecond), overs[9].Round(100*time.Microsecond), bar), all && median <= bar
	}
}

// deaf runs a plan of steps that ignore everything.
func deaf(phases, steps int, budget time.Duration, free chan struct{}) (over time.Duration, ok bool) {
	p := plan(phases, steps, func(context.Context) error { <-free; return nil })
	p.Budget, p.Logger = budget, silent
	begin := time.Now()
	p.Run(context.Background())
	return time.Since(begin) - budget, true
}

// besideCrowd runs four deaf phases beside 100,000 goroutines.
func besideCrowd(free chan struct{}) (over time.Duration, ok bool) {
	var others sync.WaitGroup
	stop := make(chan struct{})
	for range 100_000 {
		others.Go(func() { <-stop })
	}
	defer others.Wait()
	defer close(stop)
	return deaf(4, 1, 2*time.Second, free)
}

// blocked is a log handler that returns only once it is freed.
type blocked struct {
	slog.Handler
	free chan struct{}
}

func (blocked) Enabled(context.Context, slog.Level) bool { return true }
func (b blocked) Handle(context.Context, slog.Record) error {
	<-b.free
	return nil
}

// mute runs a plan whose Logger blocks. All the steps run.
func mute(free chan struct{}) (over time.Duration, ok bool) {
	const budget = time.Second
	var ran atomic.Int64
	p := plan(4, 25, func(context.Context) error { ran.Add(1); return nil })
	p.Budget = budget
	p.Logger = slog.New(blocked{slog.DiscardHandler, free})
	begin := time.Now()
	_, err := p.Run(context.Background())
	return time.Since(begin) - budget, err == nil && ran.Load() == 100
}

// requests times n requests of a net/http client, from four goroutines whose
// connections are kept.
func requests(serve func(*http.Server, net.Listener)) func(int) time.Duration {
	return func(n int) time.Duration {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		web := okServer()
		defer web.Close()
		go serve(web, l) // until the Close

		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
		defer client.CloseIdleConnections()
		ask := func() {
			r, err := client.Get("http://" + l.Addr().String() + "/items/17")
			must(err)
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
		spawners(40, ask) // the connections are made
		return parallel(n, ask)
	}
}

// perSecond returns the inverse ratio of requests per second, so the bar of at least
// 0.97 is one of at most 1/0.97.
const perSecond = 1 / 0.97

var drains = []comparison{
	{name: "Gate, parallel, against sync.WaitGroup", bar: 0.9, ours: gateOurs, peer: waitGroupPeer, allocs: true},
	{name: "Gate, parallel, against SafeWaitGroup", bar: 0.6, ours: gateOurs, peer: safeWaitGroupPeer},
	{name: "requests to a Server, against http.Server", bar: perSecond, ours: requests(drainServer), peer: requests(bareServer), n: 1000, rounds: 161},
	{name: "CPU of a request to a Server, against http.Server", bar: 1.04, ours: requestsCPU("serve ours"), peer: requestsCPU("serve peer"), n: 32_000, rounds: 41},
	{name: "Plan, 10 × 100 no-ops, against errgroups", bar: 3, ours: plansOurs, peer: plansPeer},
	{name: "100 steps that sleep 50 ms, against one sleep", bar: 1.2, n: 1, rounds: 21,
		ours: timed(func() { plan(1, 100, napping).Run(context.Background()) }),
		peer: timed(func() { time.Sleep(nap) })},
}
