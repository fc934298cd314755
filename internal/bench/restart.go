package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/thejerf/suture/v4"

	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

// inDir calls f with a file in a separate directory, the same one at each call.
func inDir(f func(path string, n int) time.Duration) func(int) time.Duration {
	dir := sync.OnceValue(func() string {
		dir, err := os.MkdirTemp("", "bench")
		must(err)
		atEnd = append(atEnd, func() { os.RemoveAll(dir) })
		return dir
	})
	return func(n int) time.Duration { return f(filepath.Join(dir(), "file"), n) }
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// begins times Begin alone, after requested stops, so that it does not wait.
func begins(path string, n int) (took time.Duration) {
	l := restart.Ledger{Path: path}
	run := func() time.Duration {
		ctx, stop := context.WithCancel(context.Background())
		begin := time.Now()
		must(l.Begin(ctx))
		took := time.Since(begin)
		stop()
		l.End(nil)
		return took
	}
	run() // makes the file
	for range n {
		took += run()
	}
	return took
}

// writes times the least that Begin must do: to write and sync a slot of the ring. It
// does the slots before and after untimed.
func writes(path string, n int) (took time.Duration) {
	f, err := os.Create(path)
	must(err)
	defer f.Close()
	_, err = f.Write(make([]byte, 16<<10))
	must(err)
	must(f.Sync())
	slot := make([]byte, 256)
	write := func(i int) {
		slot[0] = byte(i)
		_, err := f.WriteAt(slot, int64(i%64*len(slot)))
		must(err)
		must(datasync(f))
	}
	for i := range n {
		begin := time.Now()
		write(2 * i)
		took += time.Since(begin)
		write(2*i + 1)
	}
	return took
}

func locks(path string, n int) time.Duration {
	l := restart.Lock{Path: path}
	return timed(func() {
		must(l.Acquire(context.Background()))
		must(l.Release(context.Background()))
	})(n)
}

func flocks(path string, n int) time.Duration {
	l := flock.New(path)
	return timed(func() {
		must(l.Lock())
		must(l.Unlock())
	})(n)
}

var errAtOnce = errors.New("at once")

// failsOurs and failsPeer run a function that fails n times, and then does not.
// Ours waits for a nanosecond after each failure, because a Min of 0 is not possible.
func failsOurs(n int) time.Duration {
	p := restart.Policy{Min: 1, Max: 1, Stable: time.Hour, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	begin, runs := time.Now(), 0
	must(p.Wrap(func(context.Context) error {
		if runs++; runs <= n {
			return errAtOnce
		}
		return nil
	})(context.Background()))
	return time.Since(begin)
}

type service func(context.Context) error

func (s service) Serve(ctx context.Context) error { return s(ctx) }

func failsPeer(n int) time.Duration {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := suture.New("peer", suture.Spec{
		FailureThreshold: float64(n + 1),
		EventHook:        func(e suture.Event) { log.Warn(e.String()) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	runs := 0
	s.Add(service(func(context.Context) error {
		if runs++; runs <= n {
			return errAtOnce
		}
		cancel()
		return suture.ErrDoNotRestart
	}))
	begin := time.Now()
	s.Serve(ctx)
	return time.Since(begin)
}

// idle returns the memory for each of 10,000 supervised functions that wait.
func idle(supervise func(ctx context.Context, functions []func(context.Context) error) (wait func())) uint64 {
	const count = 10_000
	var up sync.WaitGroup
	up.Add(count)
	functions := make([]func(context.Context) error, count)
	for i := range functions {
		functions[i] = func(ctx context.Context) error { up.Done(); <-ctx.Done(); return ctx.Err() }
	}
	ctx, cancel := context.WithCancel(context.Background())
	before := inUse()
	wait := supervise(ctx, functions)
	up.Wait()
	bytes := inUse() - before
	cancel()
	wait()
	return bytes / count
}

// idles compares them, each in its own process, because the size of a goroutine's first
// stack depends on what the process did before.
func idles() (string, bool) {
	var ratios []float64
	var ours, peer float64
	for range 5 {
		fmt.Sscan(child("idle ours"), &ours)
		fmt.Sscan(child("idle peer"), &peer)
		ratios = append(ratios, ours/peer)
	}
	slices.Sort(ratios)
	return fmt.Sprintf("%.3f, bar 1.00, ours %g", ratios[2], ours), ratios[2] <= 1
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // frees the stacks of goroutines that have ended
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func idleOurs(ctx context.Context, functions []func(context.Context) error) func() {
	var g lifecycle.Group
	for _, f := range functions {
		g.Go("task", restart.Policy{}.Wrap(f))
	}
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	return func() { <-done }
}

func idlePeer(ctx context.Context, functions []func(context.Context) error) func() {
	s := suture.New("peer", suture.Spec{EventHook: func(suture.Event) {}})
	for _, f := range functions {
		s.Add(service(f))
	}
	done := s.ServeBackground(ctx)
	return func() { <-done }
}

var ratio = regexp.MustCompile(`([0-9.]+) allocs/decision\s+([0-9.]+) ratio`)

// decision runs a benchmark of unexported functions of package restart.
func decision() (string, bool) {
	out, err := exec.Command("go", "test", "-C", "../..", "-run", "^$", "-bench", "^BenchmarkDecision$", "./restart").CombinedOutput()
	m := ratio.FindSubmatch(out)
	if err != nil || m == nil {
		return fmt.Sprintf("%v: %s", err, out), false
	}
	var allocs, r float64
	fmt.Sscan(string(m[1]), &allocs)
	fmt.Sscan(string(m[2]), &r)
	return fmt.Sprintf("%.3f, bar 1.20, %g allocations", r, allocs), r <= 1.2 && allocs == 0
}

var restarts = []comparison{
	{name: "Ledger.Begin, against a write and its sync", bar: 1.5, n: 100, ours: inDir(begins), peer: inDir(writes)},
	{name: "Lock, against flock", bar: 3, ours: inDir(locks), peer: inDir(flocks)},
	{name: "Begin after a death, with a full box against none", bar: 1.3, n: 25, rounds: 21, ours: afterDeath(true), peer: afterDeath(false)},
	{name: "a function that fails at once, against suture", bar: 1, n: 20_000, ours: failsOurs, peer: failsPeer},
}
