package drain

import (
	"context"
	"time"
)

// settle serves on until no request has arrived for Settle. It gives up at the end
// of the Window, or with ctx.
func (s *Server) settle(ctx context.Context) {
	if s.Settle <= 0 {
		return
	}
	begin := time.Now()
	window := s.Window
	if window <= 0 {
		window = 3 * s.Settle
	}
	if d, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(d)/2)
	}
	end := begin.Add(window)
	for {
		quiet := s.lastRequest(begin).Add(s.Settle)
		if quiet.After(end) {
			quiet = end
		}
		d := time.Until(quiet)
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

// lastRequest returns when the latest request arrived, but not before begin.
func (s *Server) lastRequest(begin time.Time) time.Time {
	if t := s.born.Add(time.Duration(s.latest.Load())); t.After(begin) {
		return t
	}
	return begin
}

// A kept connection's request may be on its way when the server stops accepting.
// Closing the connection would reset it, and most clients do not send a POST again.
const (
	lull    = 100 * time.Millisecond // the quiet period after which no request is on its way
	lingers = time.Second            // for a lull at most
)

// linger serves one more request of each kept connection, with Connection: close
// (GOAWAY in HTTP/2). It ends when no connection is left, or after a lull since the
// latest request, for which the settling counts. A connection that has not sent
// anything yet has until the end of lingers.
func (s *Server) linger(ctx context.Context, since time.Time) {
	begin, most := time.Now(), lingers
	if d, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(d)/2)
	}
	again := time.NewTicker(lull / 10)
	defer again.Stop()
	for time.Since(begin) < most {
		all, silent := s.tracker.counts()
		if silent == 0 && (all == 0 || time.Since(s.lastRequest(since)) >= lull) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}
