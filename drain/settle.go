package drain

import (
	"context"
	"math"
	"time"
)

// settle serves on until no request has arrived for Settle, or until the Window or ctx
// ends.
func (s *Server) settle(ctx context.Context) {
	if s.Settle <= 0 {
		return
	}
	begin := time.Now()
	window := s.Window
	if window <= 0 {
		window = 3 * min(s.Settle, math.MaxInt64/3)
	}
	if d, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(d)/2)
	}
	end := begin.Add(window)
	for {
		quiet := s.lastRequest(begin).Add(s.Settle)
		d := min(time.Until(quiet), time.Until(end))
		if d <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(d):
		}
	}
}

// lastRequest returns when the latest request arrived, or begin if that is later.
func (s *Server) lastRequest(begin time.Time) time.Time {
	if t := s.born.Add(time.Duration(s.latest.Load())); t.After(begin) {
		return t
	}
	return begin
}

// A request may be on its way on a kept connection when the server stops accepting.
// To close the connection would reset it, and most clients do not repeat a POST.
const (
	lull    = 100 * time.Millisecond // after this quiet period no request is on its way
	lingers = time.Second            // how long linger waits for a lull
)

// linger serves one more request of each kept connection, with Connection: close
// (GOAWAY in HTTP/2). It ends when no connection is left, or after a lull, which counts
// from the latest request, but not from before since.
// A connection that has not sent anything yet has until lingers is over.
func (s *Server) linger(ctx context.Context, since time.Time) {
	begin, most := time.Now(), lingers
	if d, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(d)/2)
	}
	for time.Since(begin) < most {
		all, silent := s.tracker.counts()
		if silent == 0 && (all == 0 || time.Since(s.lastRequest(since)) >= lull) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lull / 10):
		}
	}
}
