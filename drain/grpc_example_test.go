package drain_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/evenkeel-go/evenkeel/drain"
)

// rpcServer stands for a *grpc.Server.
type rpcServer struct{ handlers sync.WaitGroup }

func (s *rpcServer) GracefulStop() { s.handlers.Wait() }
func (s *rpcServer) Stop()         {}

// A gRPC server and the gate that its streams join.
func ExampleGraceful() {
	var rpcs drain.Gate
	server := new(rpcServer)
	ctx, leave, ok := rpcs.Join(context.Background(), "/chat.Chat/Listen") // as an interceptor does
	if !ok {
		return
	}
	server.handlers.Go(func() {
		defer leave()
		<-drain.Stopping(ctx).Done()
		fmt.Println("goodbye")
	})

	plan := drain.Plan{Phases: []drain.Phase{{Name: "rpcs", Steps: []drain.Step{drain.Graceful("grpc", server, &rpcs)}}}}
	report, err := plan.Run(context.Background())
	for _, r := range report.Results {
		fmt.Println(r.Step, r.Outcome)
	}
	fmt.Println(err)
	// Output:
	// goodbye
	// grpc ok
	// <nil>
}
