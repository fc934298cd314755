package drain_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// crowd connects 2,000 clients to a path, or as many as there can be files for,
// and has each read its stream to the end. It returns when all have begun.
func (s *site) crowd(path string, ended func(body string)) (n int, wait func()) {
	n = 2000
	if most := (openFiles() - 100) / 2; most < n {
		s.t.Logf("%d clients rather than %d: the process may open %d files", most, n, openFiles())
		n = most
	}
	var wg sync.WaitGroup
	for i := range n {
		c := s.dial(fmt.Sprintf("GET %s?client=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path, i))
		wg.Go(func() {
			body, _ := io.ReadAll(c)
			ended(string(body))
		})
		<-s.in
	}
	return n, wg.Wait
}

// As many streams as a server may have end well, and in no tenth of the window
// over which they are announced do more than twice the even share end.
func TestServerCrowd(t *testing.T) {
	const budget = 6 * time.Second
	const window = budget * 9 / 10 / 2 // half of Stop's time
	s := serve(t, &drain.Server{}, nil)
	var mu sync.Mutex
	var ends []time.Time
	n, wait := s.crowd("/sse", func(body string) {
		mu.Lock()
		defer mu.Unlock()
		ends = append(ends, time.Now())
		if !strings.Contains(body, "event: goodbye\n\n") || !strings.HasSuffix(body, "\r\n0\r\n\r\n") {
			t.Errorf("a stream ended with %q", body)
		}
	})
	begin := time.Now()
	got := <-s.stop(t.Context(), budget)
	wait()
	if got.err != nil || got.over(window+time.Second) {
		t.Errorf("took %v: %v", got.Took, got.err)
	}
	var tenths [10]int
	for _, end := range ends {
		tenths[min(int(end.Sub(begin)*10/window), 9)]++
	}
	share := 2*n/10 + int(time.Duration(n)*got.late/window) // what a stalled machine holds back ends at once
	if most := slices.Max(tenths[:]); most > share {
		t.Errorf("of %d streams, %v ended in the tenths of the window", n, tenths)
	}
	t.Logf("%d streams ended in %v: %v in the tenths of %v, at most %d allowed", n, got.Took, tenths, window, share)
}

// Streams that do not listen are closed by Kill, not before, and each is named.
func TestServerDeafCrowd(t *testing.T) {
	var gate drain.Gate
	s := serve(t, &drain.Server{Gate: &gate, Name: func(r *http.Request) string { return r.FormValue("client") }}, nil)
	var first atomic.Pointer[time.Time]
	n, wait := s.crowd("/cut", func(string) {
		end := time.Now()
		first.CompareAndSwap(nil, &end)
	})
	ctx, force := asked(time.Now())
	done := s.stop(ctx, 10*time.Second)
	time.Sleep(200 * ms)
	forced, late := time.Now(), lateness()
	force()
	got := <-done
	took := got.Began.Add(got.Took).Sub(forced) - late() // without the wait for stacks
	wait()
	if early := forced.Sub(*first.Load()); early > 0 || took > 3*time.Second/2 {
		t.Errorf("the first ended %v early, Kill took %v", early, took)
	}
	if !errors.Is(got.err, context.Canceled) || !strings.Contains(fmt.Sprint(got.err), fmt.Sprintf("%d still in (", n)) {
		t.Errorf("error: %v", got.err)
	}
	named := gate.Cut()
	slices.Sort(named)
	if distinct := len(slices.Compact(named)); distinct != n {
		t.Errorf("%d of %d are named", distinct, n)
	}
}
