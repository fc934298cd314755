package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

const (
	ms     = time.Millisecond
	settle = 100 * ms
	budget = 3 * time.Second
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// probe is a service whose handlers are slow to end.
type probe struct {
	service
	in    chan bool // a handler has begun
	freed chan bool // closed at the test's end
}

// UnaryCall finishes its work during the stop.
func (p probe) UnaryCall(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	p.in <- true
	<-drain.Stopping(ctx).Done()
	time.Sleep(200 * ms)
	return &testpb.SimpleResponse{Payload: r.Payload}, ctx.Err()
}

// EmptyCall ignores its context.
func (p probe) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	p.in <- true
	<-p.freed
	return new(testpb.Empty), nil
}

// FullDuplexCall sends as much as the client takes.
func (p probe) FullDuplexCall(s grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	p.in <- true
	for {
		if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 1<<16)}}); err != nil {
			return err
		}
	}
}

// A site is the example on its own port, with a short settling and budget.
type site struct {
	probe
	t      *testing.T
	ctx    context.Context
	addr   string
	client *grpc.ClientConn
	stop   context.CancelFunc
	ended  chan error // Run's result
}

func serve(t *testing.T) *site {
	s := &site{probe: probe{in: make(chan bool, 100), freed: make(chan bool)}, t: t, ctx: lifecycle.VerifyNone(t), ended: make(chan error, 1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	g := group(l, s.probe, settle)
	g.Drain.Budget = budget
	g.Drain.Phases[1].Timeout = budget - 500*ms
	var ctx context.Context
	ctx, s.stop = context.WithCancel(s.ctx)
	go func() { s.ended <- g.Run(ctx) }()
	t.Cleanup(s.stop)
	t.Cleanup(func() { close(s.freed) })
	s.client = dial(t, s.addr)
	return s
}

func dial(t *testing.T, target string, more ...grpc.DialOption) *grpc.ClientConn {
	c, err := grpc.NewClient(target, append(more, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// raw connects and sends the first bytes of a client.
func (s *site) raw(send string) {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	io.WriteString(c, send)
	io.ReadFull(c, make([]byte, 9)) // the server's side of the handshake has begun
}

// call begins a call of a method without arguments.
func (s *site) call(method string) func() error {
	done := make(chan error, 1)
	go func() {
		done <- s.client.Invoke(s.ctx, "/grpc.testing.TestService/"+method, new(testpb.Empty), new(testpb.Empty))
	}()
	<-s.in
	return func() error { return <-done }
}

func TestStop(t *testing.T) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for _, tt := range []struct {
		name   string
		begin  func(*site) (end func() error) // end says whether the client saw what it should
		atMost time.Duration
		want   string // in Run's error
	}{
		{"a call", func(s *site) func() error { return s.call("UnaryCall") }, time.Second, ""},
		{"a silent connection", func(s *site) func() error { s.raw(""); return nil }, 2100 * ms, ""},
		{"half a handshake", func(s *site) func() error { s.raw(preface); return nil }, 2100 * ms, ""},
		{"a client that does not answer", func(s *site) func() error { s.raw(preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"); return nil }, budget,
			"grpc: killed: connections not closed yet: "},
		{"a client that does not read", unread, budget,
			"grpc: killed: 1 still in (/grpc.testing.TestService/FullDuplexCall "},
		{"a deaf handler", func(s *site) func() error { s.call("EmptyCall"); return nil }, budget + 100*ms,
			"grpc: abandoned: 1 still in (/grpc.testing.TestService/EmptyCall "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			end := tt.begin(s)
			begin := time.Now()
			s.stop()
			err := <-s.ended
			took := time.Since(begin)
			if took < settle || took > tt.atMost || (err == nil) != (tt.want == "") || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("took %v: %v; want %q", took, err, tt.want)
			}
			if end != nil {
				if err := end(); err != nil {
					t.Errorf("the client: %v", err)
				}
			}
		})
	}
}

func unread(s *site) func() error {
	_, err := testpb.NewTestServiceClient(s.client).FullDuplexCall(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	<-s.in
	return nil
}

// quick answers at once, and counts.
type quick struct {
	service
	answered atomic.Int64
}

func (q *quick) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	q.answered.Add(1)
	return new(testpb.Empty), nil
}

// One of two servers stops under load, while a silent connection delays grpc's GOAWAY to
// the clients. No call fails, and each gets one answer.
func TestRolling(t *testing.T) {
	ctx, stop := context.WithCancel(lifecycle.VerifyNone(t))
	defer stop()
	var q quick
	var targets resolver.State
	var groups []*lifecycle.Group
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		targets.Addresses = append(targets.Addresses, resolver.Address{Addr: l.Addr().String()})
		groups = append(groups, group(l, &q, settle))
	}
	first, stopFirst := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- groups[0].Run(first) }()
	go func() { ended <- groups[1].Run(ctx) }()

	r := manual.NewBuilderWithScheme("both")
	r.InitialState(targets)
	client := dial(t, "both:///", grpc.WithResolvers(r), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	var asked atomic.Int64
	load, enough := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for load.Err() == nil {
				asked.Add(1)
				if _, err := testpb.NewTestServiceClient(client).EmptyCall(ctx, new(testpb.Empty)); err != nil {
					t.Error(err)
				}
				time.Sleep(ms)
			}
		})
	}
	for asked.Load() < 500 {
		time.Sleep(ms)
	}
	silent, err := net.Dial("tcp", targets.Addresses[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	io.ReadFull(silent, make([]byte, 9))
	stopFirst()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	enough()
	wg.Wait()
	if asked.Load() != q.answered.Load() {
		t.Errorf("%d calls, %d answers", asked.Load(), q.answered.Load())
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
