// Bench compares the library with its peers, in turn within one run. For each comparison
// it prints the median of the rounds' ratios, their quartiles and the bar. Its exit
// status is 1 if one misses its bar.
//
//	go -C internal/bench run . [-only REGEXP]
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"time"
)

// A comparison is one bar.
type comparison struct {
	name string
	bar  float64 // the ratio ours / peer must not exceed it

	// ours and peer do n operations and return how long they took.
	ours, peer func(n int) time.Duration

	n      int  // operations in a round; 0: as many as take about 20 ms
	rounds int  // 0 means 41
	allocs bool // ours must not allocate
}

// A check is a bar that is not a ratio. It returns what it measured.
type check struct {
	name string
	run  func() (saw string, ok bool)
}

// atEnd holds the cleanups of comparisons, to be called before the end.
var atEnd []func()

func main() {
	if asChild() {
		return
	}
	only := flag.String("only", "", "run the comparisons whose name matches this `regexp`")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench: -only: not a regular expression, or further arguments:", err, flag.Args())
		os.Exit(2)
	}
	short := 0
	fmt.Printf("%-52s %7s  %-13s %6s\n", "comparison", "median", "quartiles", "bar")
	for _, c := range slices.Concat(comparisons, signals, drains, restarts) {
		if !match.MatchString(c.name) {
			continue
		}
		q1, median, q3, allocs := c.measure()
		verdict := "ok"
		if median > c.bar || c.allocs && allocs > 0 {
			verdict = "short"
			short++
		}
		note := ""
		if c.allocs {
			note = fmt.Sprintf("  %d allocations", allocs)
		}
		fmt.Printf("%-52s %7.3f  %5.3f–%5.3f  ≤ %4.2f  %s%s\n", c.name, median, q1, q3, c.bar, verdict, note)
	}
	for _, c := range slices.Concat(checks, timelines()) {
		if !match.MatchString(c.name) {
			continue
		}
		saw, ok := c.run()
		verdict := "ok"
		if !ok {
			verdict = "short"
			short++
		}
		fmt.Printf("%-52s %s  %s\n", c.name, saw, verdict)
	}
	for _, f := range atEnd {
		f()
	}
	if short > 0 {
		os.Exit(1)
	}
}

// measure runs ours and peer in turn, and swaps their order in each round.
func (c comparison) measure() (q1, median, q3 float64, allocs uint64) {
	n := c.n
	if n == 0 {
		for n = 1; n < 1<<30 && c.peer(n) < 20*time.Millisecond; n *= 2 {
		}
		c.ours(n) // warms up
	}
	rounds := c.rounds
	if rounds == 0 {
		rounds = 41
	}
	var ratios []float64
	perRound := make([]uint64, 0, rounds)
	for i := range rounds {
		var ours, peer time.Duration
		var before, after runtime.MemStats
		runtime.GC()
		if i%2 == 1 {
			peer = c.peer(n)
			runtime.GC()
		}
		runtime.ReadMemStats(&before)
		ours = c.ours(n)
		runtime.ReadMemStats(&after)
		if i%2 == 0 {
			runtime.GC()
			peer = c.peer(n)
		}
		ratios = append(ratios, float64(ours)/float64(peer))
		perRound = append(perRound, (after.Mallocs-before.Mallocs)/uint64(n))
	}
	slices.Sort(ratios)
	slices.Sort(perRound)
	return ratios[rounds/4], ratios[rounds/2], ratios[rounds*3/4], perRound[rounds/2]
}

// timed returns how long n calls of f take.
func timed(f func()) func(int) time.Duration {
	return func(n int) time.Duration {
		begin := time.Now()
		for range n {
			f()
		}
		return time.Since(begin)
	}
}
