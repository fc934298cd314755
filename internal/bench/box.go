package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/restart"
)

// childPath names the environment variable with the path of a child's ledger.
const childPath = "EVENKEEL_BENCH_PATH"

// inBox calls f with the black box of a run.
func inBox(f func(l *restart.Ledger, box *restart.Box)) {
	dir, err := os.MkdirTemp("", "bench")
	must(err)
	defer os.RemoveAll(dir)
	l := &restart.Ledger{Path: filepath.Join(dir, "ledger")}
	box := l.Box()
	must(l.Begin(context.Background()))
	defer l.End(nil)
	f(l, box)
}

const session = "0b7cf3a2-5d3c-4e3b-8a6e-1f0f5a3f9d10"

// boxEntry times what a box with other entries adds to an entry into a gate and its
// leave, on one core. The least of the rounds counts, because what else runs on the
// machine only adds to it.
func boxEntry() (saw string, ok bool) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	with, without, allocs := time.Hour, time.Hour, 0.0
	inBox(func(_ *restart.Ledger, box *restart.Box) {
		for i := range 1000 {
			box.Enter(fmt.Sprint("other ", i))
		}
		boxed, plain := drain.Gate{Recorder: box}, drain.Gate{}
		entry := func(g *drain.Gate) func() {
			return func() {
				_, leave, _ := g.JoinSession(context.Background(), "request", session)
				leave()
			}
		}
		for range 100 {
			const n = 10_000
			with = min(with, timed(entry(&boxed))(n)/n)
			without = min(without, timed(entry(&plain))(n)/n)
		}
		allocs = testing.AllocsPerRun(1000, entry(&boxed)) - testing.AllocsPerRun(1000, entry(&plain))
	})
	more := with - without
	return fmt.Sprintf("%v more than %v, bar 150ns, %g more allocations", more, without, allocs), more <= 150*time.Nanosecond && allocs == 0
}

// boxLocks has many goroutines enter and leave, and counts where they waited for a
// lock or blocked.
func boxLocks() (saw string, ok bool) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0))))
	inBox(func(_ *restart.Ledger, box *restart.Box) {
		runtime.SetMutexProfileFraction(1)
		defer runtime.SetMutexProfileFraction(0)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for range 20_000 {
					box.Leave(box.Enter(session))
				}
			})
		}
		wg.Wait()
	})
	var b strings.Builder
	must(pprof.Lookup("mutex").WriteTo(&b, 1))
	n := strings.Count(b.String(), "restart.(*Box)") + strings.Count(b.String(), "restart.(*register).enter")
	return fmt.Sprintf("%d, bar 0", n), n == 0
}

func boxFile() (saw string, ok bool) {
	var size int64
	inBox(func(l *restart.Ledger, box *restart.Box) {
		for i := range 10_000 {
			box.Enter(fmt.Sprint(i))
		}
		info, err := os.Stat(l.Path + ".inflight")
		must(err)
		size = info.Size()
	})
	return fmt.Sprintf("%d bytes, bar %d", size, 64<<10), size <= 64<<10
}

// quick is a policy whose waits do not count.
var quick = restart.Policy{Min: 1, Max: 1, Stable: time.Hour, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}

// fillBox is a process that dies with a full box.
func fillBox(path string) {
	l := &restart.Ledger{Path: path, Policy: quick}
	box := l.Box()
	must(l.Begin(context.Background()))
	for i := range 10_000 {
		box.Enter(fmt.Sprint(i))
	}
	os.Exit(0)
}

// afterDeath times the Begin after a process died with a full box, which had been in
// flight at the death before, too. Without the box, Begin does all but that. It
// returns n times the median, because a sync sometimes takes long.
func afterDeath(boxed bool) func(int) time.Duration {
	return inDir(func(path string, n int) (took time.Duration) {
		type content struct {
			name string
			data []byte
		}
		var dead []content
		var each []time.Duration
		for range 2 {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), childEnv+"=full box", childPath+"="+path)
			must(c.Run())
		}
		for _, name := range []string{path, path + ".inflight"} {
			data, err := os.ReadFile(name)
			must(err)
			dead = append(dead, content{name, data})
		}
		for range n {
			for _, c := range dead {
				f, err := os.OpenFile(c.name, os.O_WRONLY, 0)
				must(err)
				_, err = f.Write(c.data)
				must(err)
				must(f.Sync())
				must(f.Close())
			}
			l := &restart.Ledger{Path: path, Policy: quick}
			if boxed {
				l.Box()
			}
			begin := time.Now()
			must(l.Begin(context.Background()))
			each = append(each, time.Since(begin))
			l.End(nil)
		}
		slices.Sort(each)
		return time.Duration(n) * each[n/2]
	})
}
