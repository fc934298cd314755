package drain_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A context that has ended before ListenAndServe or Serve begins. Its end once ran
// into what Serve had not made yet.
func TestServerContextEnded(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for range 100 {
		s := &drain.Server{HTTP: &http.Server{Addr: "127.0.0.1:0"}}
		if err := s.ListenAndServe(ctx); !errors.Is(err, why) {
			t.Fatalf("got %v", err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s = &drain.Server{HTTP: &http.Server{}}
		if err := s.Serve(ctx, l); err != why {
			t.Fatalf("Serve: %v", err)
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

// An oddListener closes as well as its user wrote it.
type oddListener struct {
	net.Listener
	closing, accepting <-chan struct{} // Close returns, and Accept after it, once this is closed
	err                error           // of Close
}

func (l oddListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.accepting
	}
	return c, err
}

func (l oddListener) Close() error {
	<-l.closing
	return errors.Join(l.Listener.Close(), l.err)
}

// Listeners that net/http waits for, with its lock held if it is Close that blocks.
// The step keeps its time.
func TestServerListenersStuck(t *testing.T) {
	free := make(chan struct{})
	close(free)
	for _, stuckClose := range []bool{false, true} {
		for range 4 { // some of it depends on what select chooses
			stuck := make(chan struct{})
			s := serve(t, &drain.Server{}, func(l net.Listener) net.Listener {
				if stuckClose {
					return oddListener{l, stuck, free, nil}
				}
				return oddListener{l, free, stuck, nil}
			})
			ended := make(chan time.Duration, 1)
			go func() {
				took, _ := s.end(200 * ms)
				ended <- took
			}()
			select {
			case took := <-ended:
				t.Logf("took %v", took)
			case <-time.After(5 * time.Second):
				t.Errorf("Close is stuck: %v; the step does not end", stuckClose)
			}
			close(stuck)
			if err := <-s.served; err != nil {
				t.Error(err)
			}
		}
	}
}

// A Stop that fails before its time is over has ended, and no Kill follows. Serve
// once waited for one.
func TestServerStopFails(t *testing.T) {
	why, free := errors.New("why"), make(chan struct{})
	close(free)
	s := serve(t, &drain.Server{}, func(l net.Listener) net.Listener { return oddListener{l, free, free, why} })
	if got := <-s.stop(t.Context(), 10*time.Second); !errors.Is(got.err, why) || got.over(time.Second) {
		t.Errorf("took %v: %v", got.Took, got.err)
	}
	if err := <-s.served; err != nil {
		t.Error(err)
	}
}

// A Stop out of time cuts a request, whose handler ends later. The next Stop still
// names it, but has nothing left to wait for, and Serve returns.
func TestServerStopsAgain(t *testing.T) {
	s := serve(t, &drain.Server{}, nil)
	s.mux.HandleFunc("/deaf/for/a/while", func(http.ResponseWriter, *http.Request) {
		s.in <- "/deaf/for/a/while"
		<-s.free
	})
	within := s.begin("/deaf/for/a/while")
	ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
	defer cancel()
	if err := s.Step().Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of time: %v", err)
	}
	close(s.free)
	if err := s.Step().Stop(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("again: %v", err)
	}
	if err := <-s.served; err != nil {
		t.Error(err)
	}
	<-within
}

// A Stop keeps its time by itself, without a Kill, if Accept of the listener does not
// return.
func TestServerStopAlone(t *testing.T) {
	free, stuck := make(chan struct{}), make(chan struct{})
	close(free)
	s := serve(t, &drain.Server{}, func(l net.Listener) net.Listener { return oddListener{l, free, stuck, nil} })
	ctx, cancel := context.WithTimeout(t.Context(), 100*ms)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Step().Stop(ctx) }()
	select {
	case err := <-stopped:
		if err == nil {
			t.Error("Stop succeeded")
		}
	case <-time.After(10 * time.Second):
		t.Error("Stop does not return")
	}
	close(stuck)
	s.Step().Kill()
	<-s.served
}

// The end of the context cuts what a Stop out of time has left: ListenAndServe returns,
// and the gate is shut.
func TestServerContextEndsLast(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		addr, in, served := make(chan string, 1), make(chan bool, 1), make(chan error, 1)
		var g drain.Gate
		s := &drain.Server{Gate: &g, HTTP: &http.Server{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			in <- true
			<-r.Context().Done()
		})}}
		s.HTTP.BaseContext = func(l net.Listener) context.Context { addr <- l.Addr().String(); return context.Background() }
		why := errors.New("why")
		ctx, end := context.WithCancelCause(t.Context())
		go func() { served <- s.ListenAndServe(ctx) }()
		c, err := net.Dial("tcp", <-addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		<-in
		if stopped {
			over, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Step().Stop(over); err == nil {
				t.Error("Stop had no time and succeeded")
			}
		}
		end(why)
		select {
		case err := <-served:
			if !stopped && err != why {
				t.Errorf("ListenAndServe: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("stopped: %v; ListenAndServe does not return", stopped)
		}
		if g.Enter() {
			t.Errorf("stopped: %v; the gate is open", stopped)
		}
	}
}

// Serve returns the cause of ctx if that ended before the Step began, even if the Step
// begins while the end of ctx lets a stream say goodbye.
func TestServerContextEndsFirst(t *testing.T) {
	why := errors.New("why")
	ctx, end := context.WithCancelCause(t.Context())
	begun, stopping, free := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := &drain.Server{HTTP: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		close(begun)
		<-drain.Stopping(r.Context()).Done()
		close(stopping)
		<-free
	})}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, stopped := make(chan error, 1), make(chan struct{})
	go func() { served <- s.Serve(ctx, l) }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	end(why)
	<-stopping
	go func() { s.Step().Stop(t.Context()); close(stopped) }()
	if err := <-served; err != why {
		t.Errorf("Serve returned %v", err)
	}
	close(free)
	<-stopped
}

// If ctx ends while the address is looked up, its cause is the error.
func TestServerContextEndsLookup(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	s := &drain.Server{HTTP: &http.Server{Addr: "localhost:0"}}
	if err := s.ListenAndServe(ctx); err != why {
		t.Errorf("got %v", err)
	}
}

// Once Kill has returned, the listener is closed, even if no Stop came before.
func TestServerKillCloses(t *testing.T) {
	for range 50 {
		s := serve(t, &drain.Server{}, nil)
		s.Step().Kill()
		if c, err := net.Dial("tcp", s.addr); err == nil {
			c.Close()
			t.Fatal("a connection was accepted after Kill")
		}
	}
}
