package drain_test

import (
	"context"
	"fmt"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A queue stands for the client of a message broker.
type queue chan string

// fetch waits for the next job, or returns the cause of ctx once that has ended.
func (q queue) fetch(ctx context.Context) (string, error) {
	if ctx.Err() != nil { // select chooses at random if there is also a job
		return "", context.Cause(ctx)
	}
	select {
	case job := <-q:
		return job, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// A consumer joins the gate before it fetches, stops fetching when the stop begins,
// finishes the job it has, and leaves.
func ExampleGate_consumer() {
	var gate drain.Gate
	jobs := queue(make(chan string, 2))
	jobs <- "job 1"
	jobs <- "job 2"
	began := make(chan string)

	consume := func(ctx context.Context) {
		ctx, leave, ok := gate.Join(ctx, "consumer")
		if !ok {
			return
		}
		defer leave()
		stopping := drain.Stopping(ctx)
		for {
			job, err := jobs.fetch(stopping)
			if err != nil {
				fmt.Println("no more jobs:", err)
				return
			}
			began <- job
			<-stopping.Done() // in this example the stop begins during the job
			fmt.Println("finished", job, "with a context that is alive:", ctx.Err() == nil)
		}
	}
	go consume(context.Background())
	<-began

	fmt.Println(gate.Drain(context.Background())) // a Step's Stop
	fmt.Println(len(jobs), "job left for the next instance")
	// Output:
	// finished job 1 with a context that is alive: true
	// no more jobs: drain: the gate is shut: context canceled
	// <nil>
	// 1 job left for the next instance
}
