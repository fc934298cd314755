package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/evenkeel-go/evenkeel/drain"
)

// service stands for a service of your own.
type service struct {
	testpb.UnimplementedTestServiceServer
}

func (service) UnaryCall(_ context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: r.Payload}, nil
}

// StreamingOutputCall sends until the client has enough, or the server stops.
func (service) StreamingOutputCall(r *testpb.StreamingOutputCallRequest, s grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	stopping := drain.Stopping(s.Context())
	for {
		select {
		case <-stopping.Done():
			return goodbye(s)
		case <-time.After(100 * time.Millisecond):
			if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: r.Payload}); err != nil {
				return err
			}
		}
	}
}

// goodbye tells the client that it has not seen the end of the stream.
func goodbye(s grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	return s.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: []byte("stopping: connect again")}})
}
