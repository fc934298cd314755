package drain_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A context that has ended before ListenAndServe begins. Its end once ran into
// what Serve had not made yet.
func TestServerContextEnded(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for range 100 {
		s := &drain.Server{HTTP: &http.Server{Addr: "127.0.0.1:0"}}
		if err := s.ListenAndServe(ctx); !errors.Is(err, why) {
			t.Fatalf("got %v", err)
		}
	}
}

// Stop, Kill and the end of the context at once. The hooks run once, and
// ListenAndServe returns what it promises.
func TestServerEndsAtOnce(t *testing.T) {
	why := errors.New("why")
	for range 300 {
		var hooks atomic.Int64
		hooked, listening := make(chan struct{}, 10), make(chan struct{})
		s := &drain.Server{HTTP: &http.Server{Addr: "127.0.0.1:0"}}
		s.HTTP.RegisterOnShutdown(func() { hooks.Add(1); hooked <- struct{}{} })
		s.HTTP.BaseContext = func(net.Listener) context.Context { close(listening); return context.Background() }
		ctx, cancel := context.WithCancelCause(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.ListenAndServe(ctx) }()
		<-listening
		var wg sync.WaitGroup
		wg.Go(func() { cancel(why) })
		wg.Go(func() { s.Step().Stop(t.Context()) })
		wg.Go(func() { s.Step().Kill() })
		wg.Wait()
		if err := <-served; err != nil && err != why {
			t.Fatalf("got %v", err)
		}
		if <-hooked; hooks.Load() != 1 {
			t.Fatalf("the hooks ran %d times", hooks.Load())
		}
	}
}
