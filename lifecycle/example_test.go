package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

func ExampleGroup() {
	ctx, stop := context.WithCancel(context.Background()) // in main: lifecycle.WithSignals
	defer stop()

	var g lifecycle.Group
	g.Go("consumer", func(ctx context.Context) error {
		<-drain.Stopping(ctx).Done()
		fmt.Println("takes no more messages")
		<-ctx.Done()
		fmt.Println("ends")
		return nil
	})
	g.Go("once", func(context.Context) error { stop(); return nil })
	fmt.Println(g.Run(ctx))
	// Output:
	// takes no more messages
	// ends
	// <nil>
}

// A failure stops the group in order.
func ExampleGroup_Go() {
	var g lifecycle.Group
	g.Go("server", func(ctx context.Context) error { <-ctx.Done(); return nil })
	g.Go("worker", func(context.Context) error { return errors.New("disk on fire") })
	err := g.Run(context.Background())
	fmt.Println(err)
	fmt.Println(g.Go("late", func(context.Context) error { return nil }) == lifecycle.ErrStopped)
	// Output:
	// lifecycle: task worker: disk on fire
	// true
}

// Step puts the end of the tasks into a phase of the plan: here, before the database is
// closed.
func ExampleGroup_Step() {
	ctx, stop := context.WithCancel(context.Background())
	stopped := func(name string) drain.Step {
		return drain.Step{Name: name, Stop: func(context.Context) error { fmt.Println("stopped", name); return nil }}
	}
	var g lifecycle.Group
	g.Drain.Phases = []drain.Phase{
		{Name: "requests", Steps: []drain.Step{stopped("server")}},
		{Name: "tasks", Steps: []drain.Step{g.Step()}},
		{Name: "db", Steps: []drain.Step{stopped("db")}},
	}
	g.Go("worker", func(ctx context.Context) error {
		stop()
		<-ctx.Done()
		fmt.Println("stopped worker")
		return nil
	})
	fmt.Println(g.Run(ctx))
	// Output:
	// stopped server
	// stopped worker
	// stopped db
	// <nil>
}

func ExampleGroup_Readyz() {
	var g lifecycle.Group
	probe := func() {
		w := httptest.NewRecorder()
		g.Readyz(w, httptest.NewRequest("GET", "/readyz", nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	probe()
	g.Go("worker", func(context.Context) error { probe(); return errors.New("gave up") })
	g.Run(context.Background())
	probe()
	// Output:
	// 503 not started
	// 200 ready
	// 503 stopped: lifecycle: task worker: gave up
}

func ExampleWithSignals() {
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()
	var g lifecycle.Group
	g.Go("worker", func(ctx context.Context) error { <-ctx.Done(); return nil })
	time.AfterFunc(10*time.Millisecond, stop) // instead of a signal
	fmt.Println(lifecycle.ExitCode(g.Run(ctx)))
	// Output:
	// 0
}

// A test stops a group as a signal would.
func ExampleWithFlag() {
	ctx, flag := lifecycle.WithFlag(context.Background())
	var g lifecycle.Group
	g.Go("worker", func(ctx context.Context) error {
		flag.Raise(&lifecycle.SignalError{Signal: syscall.SIGTERM, Time: time.Now()})
		<-ctx.Done()
		return context.Cause(ctx) // a stop is not a failure
	})
	fmt.Println(g.Run(ctx), flag.Raised())
	var s *lifecycle.SignalError
	fmt.Println(errors.As(context.Cause(ctx), &s), s.Signal == syscall.SIGTERM)
	// Output:
	// <nil> true
	// true true
}

func ExampleLeakError() {
	g := lifecycle.Group{Drain: drain.Plan{Budget: 20 * time.Millisecond}}
	forever := make(chan struct{})
	g.Go("deaf", func(context.Context) error { <-forever; return nil })
	g.Go("fails", func(context.Context) error { return errors.New("so all must stop") })
	var leak *lifecycle.LeakError
	if errors.As(g.Run(context.Background()), &leak) {
		fmt.Println(leak.Live, leak.Found[0].Task, leak.Found[0].Count)
	}
	close(forever)
	// Output:
	// 1 deaf 1
}

func ExampleGenerate() {
	squares := lifecycle.Generate(context.Background(), 4, func(ctx context.Context, yield func(int) bool) error {
		for i := 1; yield(i * i); i++ {
		}
		return nil
	})
	for n := range squares.All() {
		if n > 20 {
			break // closes the stream, and waits for the producer
		}
		fmt.Println(n)
	}
	fmt.Println(squares.Err())
	// Output:
	// 1
	// 4
	// 9
	// 16
	// <nil>
}

func ExampleStream_Close() {
	ticks := lifecycle.Generate(context.Background(), 0, func(ctx context.Context, yield func(int) bool) error {
		<-ctx.Done() // busy, or blocked
		return nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	fmt.Println(ticks.Close(ctx)) // from anywhere, at any time
	// Output:
	// <nil>
}

func ExampleExitCode() {
	fmt.Println(lifecycle.ExitCode(nil))
	fmt.Println(lifecycle.ExitCode(errors.New("worker failed")))
	fmt.Println(lifecycle.ExitCode(restart.Permanent(errors.New("no such database"))))
	// Output:
	// 0
	// 1
	// 78
}

// The test fails at its end, and names what it left behind. It may run in parallel with
// others: goleak.VerifyNone(t) would report their goroutines too.
func ExampleVerifyNone() {
	test := func(t *testing.T) {
		t.Parallel()
		ctx := lifecycle.VerifyNone(t)
		var g lifecycle.Group
		g.Go("worker", func(context.Context) error {
			go func() { select {} }() // found, although the worker has returned
			return nil
		})
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	}
	_ = test // func TestWorker(t *testing.T)
}
