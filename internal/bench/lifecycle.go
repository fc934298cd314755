package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

var nothing = func(context.Context) error { return nil }

// group runs tasks that do nothing in a Group of ours.
func group(tasks int) func() {
	return func() {
		var g lifecycle.Group
		for range tasks {
			g.Go("task", nothing)
		}
		g.Run(context.Background())
	}
}

func plainErrgroup(tasks int) func() {
	return func() {
		var g errgroup.Group
		for range tasks {
			g.Go(func() error { return nil })
		}
		g.Wait()
	}
}

func contextErrgroup(tasks int) func() {
	return func() {
		g, ctx := errgroup.WithContext(context.Background())
		for range tasks {
			g.Go(func() error { return nothing(ctx) })
		}
		g.Wait()
	}
}

// spawners calls spawn n times from four goroutines.
func spawners(n int, spawn func()) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range n / 4 {
				spawn()
			}
		})
	}
	wg.Wait()
}

func spawnOurs(n int) time.Duration {
	ctx, cancel := context.WithCancel(context.Background())
	var g lifecycle.Group
	up := make(chan struct{})
	g.Go("hold", func(ctx context.Context) error { close(up); <-ctx.Done(); return nil })
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	<-up
	begin := time.Now()
	spawners(n, func() { g.Go("task", nothing) })
	cancel()
	<-done
	return time.Since(begin)
}

func spawnPeer(n int) time.Duration {
	var g errgroup.Group
	begin := time.Now()
	spawners(n, func() { g.Go(func() error { return nil }) })
	g.Wait()
	return time.Since(begin)
}

func streamOurs(n int) time.Duration {
	s := lifecycle.Generate(context.Background(), 64, func(_ context.Context, yield func(int) bool) error {
		for i := range n {
			if !yield(i) {
				break
			}
		}
		return nil
	})
	begin := time.Now()
	for range s.All() {
	}
	return time.Since(begin)
}

func channelPeer(n int) time.Duration {
	c := make(chan int, 64)
	go func() {
		for i := range n {
			c <- i
		}
		close(c)
	}()
	begin := time.Now()
	for range c {
	}
	return time.Since(begin)
}

func pullPeer(n int) time.Duration {
	next, stop := iter.Pull(func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				break
			}
		}
	})
	defer stop()
	begin := time.Now()
	for {
		if _, ok := next(); !ok {
			return time.Since(begin)
		}
	}
}

func never(raised bool) {
	if raised {
		panic("raised")
	}
}

// raised and loaded ask four times in a turn. A turn with one question is so short that
// its place in the binary would decide, by a factor of two.
func raised(n int) time.Duration {
	_, f := lifecycle.WithFlag(context.Background())
	begin := time.Now()
	for range n / 4 {
		never(f.Raised())
		never(f.Raised())
		never(f.Raised())
		never(f.Raised())
	}
	return time.Since(begin)
}

func loaded(n int) time.Duration {
	var b atomic.Bool
	begin := time.Now()
	for range n / 4 {
		never(b.Load())
		never(b.Load())
		never(b.Load())
		never(b.Load())
	}
	return time.Since(begin)
}

// A fakeT has no goroutines left at its end.
type fakeT struct{ end func() }

func (*fakeT) Context() context.Context       { return context.Background() }
func (t *fakeT) Cleanup(f func())             { t.end = f }
func (*fakeT) Errorf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// amongOthers times a check while 100,000 other goroutines wait.
func amongOthers(prepare func() (check func())) func(int) time.Duration {
	return func(int) time.Duration {
		free := make(chan struct{})
		var wg sync.WaitGroup
		for range 100_000 {
			wg.Go(func() { <-free })
		}
		time.Sleep(100 * time.Millisecond) // until all of them wait
		check := prepare()
		begin := time.Now()
		check()
		took := time.Since(begin)
		close(free)
		wg.Wait()
		return took
	}
}

func verifyNone() func() {
	var t fakeT
	lifecycle.VerifyNone(&t)
	return t.end
}

func goleakFind() func() {
	current := goleak.IgnoreCurrent()
	return func() {
		if err := goleak.Find(current); err != nil {
			panic(err)
		}
	}
}

const childEnv = "EVENKEEL_BENCH_CHILD"

// asChild runs what a child of this process does.
func asChild() bool {
	switch os.Getenv(childEnv) {
	case "":
		return false
	case "panic":
		var g lifecycle.Group
		g.Go("panics", func(context.Context) error { panic("oh") })
		os.Exit(lifecycle.ExitCode(g.Run(context.Background())))
	case "full box":
		fillBox(os.Getenv(childPath))
	case "idle ours":
		fmt.Println(idle(idleOurs))
	case "idle peer":
		fmt.Println(idle(idlePeer))
	case "serve ours":
		serve(drainServer)
	case "serve peer":
		serve(bareServer)
	}
	return true
}

func child(does string) (printed string) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childEnv+"="+does)
	out, err := c.Output()
	must(err)
	return string(out)
}

func panics() (string, bool) {
	const processes = 1000
	zero := 0
	for range processes {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), childEnv+"=panic")
		c.Run()
		if c.ProcessState == nil || c.ProcessState.Success() {
			zero++
		}
	}
	return fmt.Sprintf("%d of %d", zero, processes), zero == 0
}

var comparisons = []comparison{
	{name: "Group, 64 tasks, against errgroup", bar: 1.4, ours: timed(group(64)), peer: timed(plainErrgroup(64))},
	{name: "Group of 3 tasks, against errgroup.WithContext", bar: 1.6, ours: timed(group(3)), peer: timed(contextErrgroup(3))},
	{name: "Go from 4 spawners at once, against errgroup", bar: 1.15, ours: spawnOurs, peer: spawnPeer},
	{name: "Stream, buffer 64, against a 64-slot channel", bar: 0.9, ours: streamOurs, peer: channelPeer, allocs: true},
	{name: "Stream, buffer 64, against iter.Pull", bar: 0.6, ours: streamOurs, peer: pullPeer},
	{name: "Flag.Raised, against atomic.Bool.Load", bar: 1.5, ours: raised, peer: loaded},
	{name: "VerifyNone among 100,000 goroutines, against goleak", bar: 0.1, ours: amongOthers(verifyNone), peer: amongOthers(goleakFind), n: 1, rounds: 5},
}

var checks = []check{
	{"panic in a task, processes with exit status 0", panics},
	{"overrun of a budget of 1 s, if all is ignored", stubborn},
	{"overrun of 2 s, 4 deaf phases, 100,000 goroutines", overrun(20*time.Millisecond, besideCrowd)},
	{"overrun of 1 s, a phase of 10,000 deaf steps", overrun(100*time.Millisecond, func(free chan struct{}) (time.Duration, bool) { return deaf(1, 10_000, time.Second, free) })},
	{"overrun of 1 s, a Logger that blocks", overrun(20*time.Millisecond, mute)},
	{"bytes of an idle function, against suture", idles},
	{"decision over a full ring, against decoding it", decision},
	{"black box: an entry into a gate, against without it", boxEntry},
	{"black box: waits for a lock in a parallel run", boxLocks},
	{"black box: size of a full one's file", boxFile},
}
