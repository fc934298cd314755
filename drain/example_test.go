package drain_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

func ExamplePlan() {
	plan := drain.Plan{Budget: 10 * time.Second, Phases: []drain.Phase{
		{Name: "queue", Timeout: 5 * time.Second, Steps: []drain.Step{{Name: "queue", Stop: func(context.Context) error {
			return errors.New("3 jobs left")
		}}}},
		{Name: "db", Reserve: time.Second, Steps: []drain.Step{{Name: "db", Stop: func(context.Context) error {
			fmt.Println("closing the database all the same")
			return nil
		}}}},
	}}
	report, err := plan.Run(context.Background())
	fmt.Println(err)
	for _, r := range report.Results {
		fmt.Println(r.Step, r.Outcome)
	}
	// Output:
	// closing the database all the same
	// drain: queue: 3 jobs left
	// queue error
	// db ok
}

func ExamplePlan_Validate() {
	plan := drain.Plan{Budget: 10 * time.Second, Phases: []drain.Phase{
		{Name: "jobs", Reserve: 8 * time.Second},
		{Name: "db", Reserve: 5 * time.Second},
	}}
	fmt.Println(plan.Validate())
	// Output:
	// drain: phase "db": Reserve: 5s and the 8s of earlier phases are over the Budget, 10s; raise it or lower them
}

func ExampleStep() {
	connection, _ := net.Pipe()
	step := drain.Step{
		Name: "peer",
		Stop: func(ctx context.Context) error { // asks, and waits for an answer that may never come
			<-ctx.Done()
			return context.Cause(ctx)
		},
		Kill: func() { connection.Close() },
	}
	plan := drain.Plan{Budget: 500 * time.Millisecond, Phases: []drain.Phase{{Name: "peers", Steps: []drain.Step{step}}}}
	_, err := plan.Run(context.Background())
	fmt.Println(err)
	var failed *drain.StepError
	fmt.Println(errors.As(err, &failed) && failed.Outcome == drain.Killed, errors.Is(err, context.DeadlineExceeded))
	// Output:
	// drain: peers: peer: killed: out of time in phase peers
	// true true
}

func ExampleGate() {
	var gate drain.Gate
	if gate.Enter() {
		go func() {
			defer gate.Leave()
			fmt.Println("working")
		}()
	}
	err := gate.Drain(context.Background()) // a Step's Stop
	fmt.Println("drained", err)
	fmt.Println("admitted afterwards:", gate.Enter())
	// Output:
	// working
	// drained <nil>
	// admitted afterwards: false
}

// A stream of events has no end. It ends at the stop.
func ExampleStopping() {
	var gate drain.Gate
	ctx, leave, ok := gate.Join(context.Background(), "session 7")
	if !ok {
		return
	}
	go func() {
		defer leave()
		<-drain.Stopping(ctx).Done()
		fmt.Println("goodbye; still allowed to work:", ctx.Err() == nil)
	}()
	fmt.Println(gate.Drain(context.Background()))
	// Output:
	// goodbye; still allowed to work: true
	// <nil>
}

func ExampleGate_Cut() {
	var gate drain.Gate
	gate.Join(context.Background(), "session 7") // and does not leave
	ctx, cancel := context.WithTimeoutCause(context.Background(), time.Millisecond, errors.New("out of patience"))
	defer cancel()
	fmt.Println(gate.Drain(ctx) != nil, gate.Cut())
	// Output:
	// true [session 7]
}

// The steps that did not end well come first, the longest first.
func ExampleReport() {
	began := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	report := drain.Report{Began: began, Deadline: began.Add(25 * time.Second), Took: 15100 * time.Millisecond, Results: []drain.Result{
		{Phase: "requests", Step: "http", Outcome: drain.Killed, Took: 14 * time.Second,
			Err: errors.New("drain: 1 still in (GET /export 20s): out of time in phase requests")},
		{Phase: "jobs", Step: "queue", Outcome: drain.Failed, Took: time.Second, Err: errors.New("3 jobs left")},
		{Phase: "db", Step: "db", Outcome: drain.OK, Took: 100 * time.Millisecond},
	}}
	fmt.Println(report)
	// Output:
	// phase     step   outcome        took
	// requests  http   killed       14.00s
	//     1 still in (GET /export 20s): out of time in phase requests
	// jobs      queue  error         1.00s  3 jobs left
	// db        db     ok            0.10s
	// 15.10s of 25.00s, 2 of 3 steps did not end well
}

func ExampleServer() {
	web := &drain.Server{HTTP: &http.Server{}, Settle: 10 * time.Millisecond}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- web.Serve(context.Background(), listener) }()

	plan := drain.Plan{Phases: []drain.Phase{{Name: "requests", Steps: []drain.Step{web.Step()}}}}
	_, err = plan.Run(context.Background())
	fmt.Println(err, <-served)
	// Output:
	// <nil> <nil>
}
