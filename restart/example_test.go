package restart_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/evenkeel-go/evenkeel/restart"
)

func ExamplePolicy_Wrap() {
	runs := 0
	policy := restart.Policy{Min: time.Millisecond, Logger: slog.New(slog.DiscardHandler)} // or each failure is logged
	work := policy.Wrap(func(context.Context) error {
		if runs++; runs < 3 {
			return errors.New("connection lost")
		}
		return nil
	})
	err := work(context.Background())
	fmt.Println(runs, "runs,", err)
	// Output:
	// 3 runs, <nil>
}

// The zero Policy's delays, to which jitter adds a tenth at most.
func ExamplePolicy_Delay() {
	for level := range 12 {
		fmt.Printf("%2d  %v\n", level, restart.Policy{}.Delay(level).Round(time.Second))
	}
	// Output:
	//  0  0s
	//  1  1s
	//  2  2s
	//  3  4s
	//  4  8s
	//  5  16s
	//  6  32s
	//  7  1m4s
	//  8  2m8s
	//  9  4m16s
	// 10  4m33s
	// 11  4m33s
}

func ExamplePolicy_Validate() {
	fmt.Println(restart.Policy{Max: 10 * time.Minute}.Validate())
	// Output:
	// restart: Stable: 10m0s must exceed Max, 10m0s, or what fails between the two is never slowed
}

func ExamplePermanent() {
	work := restart.Policy{}.Wrap(func(context.Context) error {
		return restart.Permanent(errors.New("no such bucket"))
	})
	fmt.Println(work(context.Background()))
	// Output:
	// no such bucket
}

func ExampleRetryAfter() {
	runs, begin := 0, time.Now()
	policy := restart.Policy{Min: time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	work := policy.Wrap(func(context.Context) error {
		if runs++; runs == 1 {
			return restart.RetryAfter(errors.New("too many requests"), 20*time.Millisecond)
		}
		return nil
	})
	fmt.Println(work(context.Background()), time.Since(begin) >= 20*time.Millisecond)
	// Output:
	// <nil> true
}

// A supervisor starts a process again and again; here each turn is one.
func ExampleLedger() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	policy := restart.Policy{Min: time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	for _, cut := range [][]string{{"ann", "bob"}, {"ann"}, nil} {
		ledger := restart.Ledger{Path: filepath.Join(dir, "ledger"), Policy: policy}
		if err := ledger.Begin(context.Background()); err != nil {
			fmt.Println(err)
			return
		}
		ledger.End(errors.New("connection lost"), cut...)
	}
	ledger := restart.Ledger{Path: filepath.Join(dir, "ledger")}
	table, err := ledger.Table()
	for line := range strings.Lines(table) {
		word := strings.Fields(line)
		fmt.Println(word[1], word[5], strings.Join(word[6:], " ")) // the others differ each time
	}
	fmt.Println(err)
	// Output:
	// LEVEL END CUT
	// 0 failed 2
	// 1 failed 1, 1 again
	// 2 failed 0
	// <nil>
}

func ExampleLock() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path, token := filepath.Join(dir, "poller"), "123:secret"

	first := restart.Lock{Path: path, Secret: token}
	fmt.Println("first:", first.Acquire(context.Background()))

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	second := restart.Lock{Path: path, Secret: token, Logger: slog.New(slog.DiscardHandler)}
	err = second.Acquire(ctx) // names the first one's process
	fmt.Println("second is too late:", errors.Is(err, context.DeadlineExceeded))

	fmt.Println("first:", first.Release(context.Background()))
	fmt.Println("second:", second.Acquire(context.Background()))
	fmt.Println("second:", second.Release(context.Background()))
	// Output:
	// first: <nil>
	// second is too late: true
	// first: <nil>
	// second: <nil>
	// second: <nil>
}
