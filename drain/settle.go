package drain

import (
	"context"
	"time"
)

// settle waits until no request came for Settle, or the window or ctx ends.
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
		quiet := s.asked(begin).Add(s.Settle)
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

// asked returns when the latest request came, but not before begin.
func (s *Server) asked(begin time.Time) time.Time {
	if t := s.born.Add(time.Duration(s.latest.Load())); t.After(begin) {
		return t
	}
	return begin
}

// vacate leaves new connections to the next instance, and serves those that it
// has accepted: each to the end of its next answer, which says Connection: close
// or, in HTTP/2, GOAWAY. It returns when all have asked and for a moment nobody
// has any more, as a request is not seen between its last byte and its handler.
func (s *Server) vacate(ctx context.Context, l *socket) {
	const quiet, most = 100 * time.Millisecond, time.Second
	begin, window := time.Now(), most
	if d, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(d)/2)
	}
	l.rest(ctx)
	again := time.NewTicker(quiet / 10)
	defer again.Stop()
	for busy := begin; time.Since(begin) < window && time.Since(busy) < quiet; busy = s.asked(busy) {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		if s.tracker.silent() {
			busy = time.Now()
		}
	}
	s.HTTP.SetKeepAlivesEnabled(false) // closes the idle ones now, the others after their answers
}
