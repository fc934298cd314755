package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

var lives = flag.Int("lives", 6, "how often TestStops stops the server; 0 means each moment once")

// The program stops at each moment, and loses no call, stream or watch of its health.
func TestStops(t *testing.T) {
	stoptest.Run(t, stoptest.Program{
		Args: []string{"-addr", "{addr}", "-settle", "100ms"},
		Load: []stoptest.Load{
			{Name: "UnaryCall", Do: rpc(calls)},
			{Name: "StreamingOutputCall", Do: rpc(watched), Stream: true},
			{Name: "Health.Watch", Do: rpc(healthy), Stream: true},
		},
		Lives: *lives,
	})
}

// rpc gives each call of a load a connection.
func rpc(do func(context.Context, *grpc.ClientConn) error) func(context.Context, string) error {
	return func(ctx context.Context, addr string) error {
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer c.Close()
		return do(ctx, c)
	}
}

// calls makes two calls on a connection, and the server may be stopped between them.
func calls(ctx context.Context, c *grpc.ClientConn) error {
	for range 2 {
		if _, err := testpb.NewTestServiceClient(c).UnaryCall(ctx, new(testpb.SimpleRequest)); err != nil {
			return err
		}
		stoptest.Admitted(ctx)
	}
	return nil
}

// watched reads a stream, which must end well, with a goodbye.
func watched(ctx context.Context, c *grpc.ClientConn) error {
	stream, err := testpb.NewTestServiceClient(c).StreamingOutputCall(ctx, new(testpb.StreamingOutputCallRequest))
	if err != nil {
		return err
	}
	for last := "nothing"; ; {
		m, err := stream.Recv()
		switch {
		case err == io.EOF && strings.HasPrefix(last, "stopping"):
			return nil
		case last == "nothing":
			err = refusal(err)
		}
		if err != nil {
			return fmt.Errorf("after %q: %w", last, err)
		}
		stoptest.Admitted(ctx)
		last = string(m.Payload.GetBody())
	}
}

// healthy watches the health state, which must become NOT_SERVING.
func healthy(ctx context.Context, c *grpc.ClientConn) error {
	stream, err := healthpb.NewHealthClient(c).Watch(ctx, new(healthpb.HealthCheckRequest))
	if err != nil {
		return err
	}
	m, err := stream.Recv()
	if err != nil {
		return refusal(err)
	}
	if m.Status == healthpb.HealthCheckResponse_SERVING {
		stoptest.Admitted(ctx)
		m, err = stream.Recv()
	}
	if err == nil && m.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		err = errors.New("the state is " + m.Status.String())
	}
	return err
}

// refusal marks the status with which the server refuses a stream that has not begun.
func refusal(err error) error {
	if status.Code(err) == codes.Unavailable {
		return fmt.Errorf("%w: %w", stoptest.ErrRefused, err)
	}
	return err
}
