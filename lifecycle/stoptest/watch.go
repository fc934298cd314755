package stoptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// probe asks once whether the program is ready.
func (p *Program) probe(ctx context.Context, l *Life) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if p.Ready == "" {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	url := l.Expand(p.Ready)
	if strings.HasPrefix(url, "/") {
		url = "http://" + l.Addr + url
	}
	var t http.Transport
	request{}.set(&t, false)
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err = io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %w: %s", url, errNotReady, res.Status)
	}
	return nil
}

var errNotReady = errors.New("not ready")

// A watch sees in which order readiness fails and new connections are refused.
type watch struct {
	life     *life
	notReady chan struct{} // closed a moment after readiness failed
	refusing chan struct{} // closed when a new connection was refused

	// Written by run, and read when it has returned.
	order seen
	cut   bool // a probe was: the program may count it as lost work
}

// run watches until new connections are refused, as they are after the exit, or until ctx
// ends.
func (w *watch) run(ctx context.Context) {
	if w.life.program.Ready == "" {
		return
	}
	good := time.Now() // the begin of the last probe that said ready
	for failed := false; ; {
		select {
		case <-time.After(15 * time.Millisecond):
		case <-ctx.Done():
			return
		}
		if begin := time.Now(); !failed {
			err := w.life.program.probe(ctx, &w.life.Life)
			switch {
			case err == nil:
				good = begin
			case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil: // slow is not unready
			default:
				failed = true
				w.cut = !errors.Is(err, errNotReady) && !isRefused(err)
				w.life.about("readiness failed: " + err.Error())
				if !w.refuses(ctx) {
					w.order.yes = 1
					time.AfterFunc(100*time.Millisecond, func() { close(w.notReady) })
				}
			}
		}
		if w.refuses(ctx) {
			break
		}
	}
	w.life.about("new connections are refused")
	switch gap := time.Since(good); {
	case w.order.yes > 0:
	case gap > 200*time.Millisecond: // this side was too slow to see
		w.order.unproven = 1
	default:
		w.order.no = 1
		w.order.saw = fmt.Sprintf("new connections were refused, and a probe %v before still said ready", gap.Round(time.Millisecond))
	}
	close(w.refusing)
}

// refuses reports whether a new connection is refused.
func (w *watch) refuses(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", w.life.Addr)
	if err == nil {
		conn.Close()
	}
	return err != nil && isRefused(err)
}
