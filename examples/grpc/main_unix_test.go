//go:build unix

package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

// The program serves on while it settles. Its stream and its health watch end well, and
// its exit status is 0.
func TestSIGTERM(t *testing.T) {
	p := proctest.Start(t, "serve")
	s := &site{t: t, ctx: t.Context()}
	s.client = dial(t, p.After("listening on "))
	stream, health := watched(s), healthy(s)
	p.Signal(syscall.SIGTERM)
	begin := time.Now()
	if err := health(); err != nil {
		t.Errorf("the watch of health: %v", err)
	}
	if _, err := testpb.NewTestServiceClient(s.client).UnaryCall(t.Context(), new(testpb.SimpleRequest)); err != nil || time.Since(begin) > 2*time.Second {
		t.Errorf("a call in the settle time, after %v: %v", time.Since(begin), err)
	}
	if err := stream(); err != nil {
		t.Errorf("the stream: %v", err)
	}
	out, status := p.Ended()
	if took := time.Since(begin); status != 0 || took < 3*time.Second || took > 8*time.Second || !strings.Contains(out, "drain ended") {
		t.Errorf("exit status %d after %v: %s", status, took, out)
	}
}
