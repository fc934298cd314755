// Grpc is a gRPC server that stops in order: it reports NOT_SERVING, asks its streams
// to end, finishes what it began, and names what it had to cut.
//
//	go -C examples/grpc run . [-addr HOST:PORT] [-settle DURATION]
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "listen on `HOST:PORT`")
	settle := flag.Duration("settle", 3*time.Second, "how long to serve on after NOT_SERVING, until the load balancer has noticed")
	flag.Parse()
	ctx, stop := lifecycle.WithSignals(context.Background()) // first signal drains, second forces, third kills
	defer stop()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
	fmt.Println("listening on", l.Addr())
	g := group(l, service{}, *settle)
	g.Logger = slog.Default()
	os.Exit(lifecycle.ExitCode(g.Run(ctx)))
}

// group serves s on l. At a stop it settles until the load balancer has noticed that it
// is not ready, and then drains.
func group(l net.Listener, s testpb.TestServiceServer, settle time.Duration) *lifecycle.Group {
	var rpcs drain.Gate
	server := grpc.NewServer(
		grpc.UnaryInterceptor(joinUnary(&rpcs)),
		grpc.StreamInterceptor(joinStream(&rpcs)),
		grpc.ConnectionTimeout(2*time.Second), // how long a silent connection can hold up the stop
	)
	ready := health.NewServer()
	healthpb.RegisterHealthServer(server, ready)
	testpb.RegisterTestServiceServer(server, s)

	var g lifecycle.Group
	g.Drain = drain.Plan{Budget: 25 * time.Second, Phases: []drain.Phase{
		{Name: "readiness", Timeout: 5 * time.Second, Steps: []drain.Step{{Name: "health", Stop: func(ctx context.Context) error {
			ready.Shutdown() // NOT_SERVING
			select {
			case <-time.After(settle):
			case <-ctx.Done():
			}
			return nil
		}}}},
		{Name: "rpcs", Timeout: 15 * time.Second, Steps: []drain.Step{drain.Graceful("grpc", server, &rpcs)}},
	}}
	g.Go("grpc", func(context.Context) error { return server.Serve(l) })
	return &g
}
