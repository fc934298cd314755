package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/evenkeel-go/evenkeel/drain"
)

// joinUnary names the RPC in the gate. If the gate is shut, it still serves the RPC,
// which was sent before the client knew of the stop. GracefulStop waits for it.
func joinUnary(rpcs *drain.Gate) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		ctx, leave, _ := rpcs.JoinSession(ctx, info.FullMethod, session(ctx))
		defer leave()
		return handle(ctx, req)
	}
}

// joinStream gives a stream a context whose [drain.Stopping] ends at the stop. If the
// gate is shut, it refuses the stream, because the stop could not be announced to it.
func joinStream(rpcs *drain.Gate) grpc.StreamServerInterceptor {
	return func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		ctx, leave, ok := rpcs.JoinSession(s.Context(), info.FullMethod, session(s.Context()))
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

// session returns the session that the client named in its metadata, or "".
func session(ctx context.Context) string {
	if named := metadata.ValueFromIncomingContext(ctx, "session"); len(named) > 0 {
		return named[0]
	}
	return ""
}
