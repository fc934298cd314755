package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/evenkeel-go/evenkeel/drain"
)

// joinUnary names the RPC in the gate. One that comes when the gate is shut is
// served all the same: it was on its way when the client had not yet heard that
// the server goes away. GracefulStop waits for it.
func joinUnary(rpcs *drain.Gate) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		ctx, leave, _ := rpcs.Join(ctx, info.FullMethod)
		defer leave()
		return handle(ctx, req)
	}
}

// joinStream shows the stop to a stream, through [drain.Stopping] of its
// context. A stream that arrives when the gate is shut is refused: it could not
// learn of the stop.
func joinStream(rpcs *drain.Gate) grpc.StreamServerInterceptor {
	return func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		ctx, leave, ok := rpcs.Join(s.Context(), info.FullMethod)
		if !ok {
			return status.Error(codes.Unavailable, "stopping")
		}
		defer leave()
		if info.FullMethod == healthpb.Health_Watch_FullMethodName {
			ctx = drain.Stopping(ctx) // grpc's own handler knows only the end of its context
		}
		return handle(srv, &stream{s, ctx})
	}
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *stream) Context() context.Context { return s.ctx }
