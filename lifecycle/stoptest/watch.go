package stoptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
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

	mu      sync.Mutex
	verdict Verdict // Yes, No or Unproven; "" if neither was seen
	why     string
	broken  bool // a probe got neither an answer nor a refusal
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
		begin := time.Now()
		if !failed {
			err := w.life.program.probe(ctx, &w.life.Life)
			switch {
			case err == nil:
				good = begin
			case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil: // slow is not unready
			default:
				failed = true
				w.mu.Lock()
				w.broken = !errors.Is(err, errNotReady) && !errors.Is(err, syscall.ECONNREFUSED)
				w.mu.Unlock()
				w.life.about("readiness failed: " + err.Error())
			}
			if failed && !w.refuses(ctx) {
				w.set(Yes, "")
				time.AfterFunc(100*time.Millisecond, func() { close(w.notReady) })
				continue
			}
		}
		if !w.refuses(ctx) {
			continue
		}
		w.life.about("new connections are refused")
		if gap := time.Since(good); gap > 200*time.Millisecond {
			w.set(Unproven, "")
		} else {
			w.set(No, fmt.Sprintf("new connections were refused, and a probe %v before still said ready", gap.Round(time.Millisecond)))
		}
		close(w.refusing)
		return
	}
}

// set sets the verdict, if there is none yet.
func (w *watch) set(v Verdict, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.verdict == "" {
		w.verdict, w.why = v, why
	}
}

func (w *watch) seen() (Verdict, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.verdict, w.why
}

// cut reports whether a probe was cut: the program may count it as lost work.
func (w *watch) cut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

// refuses reports whether a new connection is refused.
func (w *watch) refuses(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", w.life.Addr)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
