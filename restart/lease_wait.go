package restart

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
)

// A wait is what a waiter knows of the holder.
type wait struct {
	*term
	seenVersion string        // the last that the register had
	seen        time.Duration // when that was first seen
	open        bool          // a Set of ours was not answered
	said        string        // the holder, or "failed", that the log has
	shown       string        // what the status has
	showed      time.Duration // when
}

// errNotNeeded ends a wait when the stop begins. A Policy would run the waiter again
// after an error.
var errNotNeeded = errors.New("the stop has begun")

// acquire polls until t holds the lease, and returns when its term ends.
func (t *term) acquire(outer context.Context) (end time.Duration, err error) {
	ctx, forget := stopping(outer)
	defer forget()
	w := wait{term: t}
	for ctx.Err() == nil {
		end, again, err := w.poll(ctx)
		switch {
		case end > 0 && ctx.Err() == nil:
			w.over(ctx)
			t.log.InfoContext(ctx, "lease held", "lease", t.lease.name(), "term", t.record.Term)
			return end, nil
		case carried.IsPermanent(err):
			return 0, fmt.Errorf("restart: %s: %w", t.lease.name(), err)
		case err != nil && ctx.Err() == nil:
			w.failed(ctx, err)
		}
		_ = sleep(ctx, again) // the loop checks ctx
	}
	if w.open {
		var last leaseRecord
		last, t.version, err = t.get(context.WithoutCancel(ctx))
		t.certain = err == nil && last.Nonce == t.record.Nonce
	}
	if t.certain {
		t.release(ctx)
	}
	if outer.Err() == nil {
		return 0, errNotNeeded
	}
	return 0, context.Cause(outer)
}

// stopping returns ctx with an end as early as that of drain.Stopping.
func stopping(ctx context.Context) (context.Context, func()) {
	both, cancel := context.WithCancelCause(ctx)
	s, ok := ctx.Value(carried.SoftKey).(carried.Soft)
	if !ok {
		return both, func() { cancel(nil) }
	}
	soft, _ := s.Soft()
	forget := context.AfterFunc(soft, func() { cancel(context.Cause(soft)) })
	return both, func() { forget(); cancel(nil) }
}

// poll takes the lease if it is free, and returns when its term ends. Otherwise it
// returns when to try again.
func (w *wait) poll(ctx context.Context) (end, again time.Duration, err error) {
	last, version, err := w.get(ctx)
	if err != nil {
		return 0, w.interval(), err
	}
	now := w.now()
	if version != w.seenVersion {
		w.seenVersion, w.seen = version, now
		w.open = false // nothing can be set over the version before
	}
	ours := last.Nonce == w.record.Nonce // set without an answer
	left := w.seen + time.Duration(last.TTL) - now
	if version != "" && last.State != leaseReleased && left > 0 && !ours {
		w.show(ctx, last)
		return 0, min(w.interval(), left), nil
	}
	if !ours {
		w.record.Term = last.Term + 1
	}
	w.record.Since = time.Now().UTC().Format(time.RFC3339)
	w.version = version
	end, err = w.set(context.WithoutCancel(ctx), w.record) // or it might hold the lease without knowing
	w.open = err != nil
	if errors.Is(err, ErrChanged) {
		err = nil // another waiter was faster
	}
	return end, w.interval(), err
}

// show passes the holder to the log, once, and to the status.
func (w *wait) show(ctx context.Context, r leaseRecord) {
	if w.said != r.Nonce {
		w.said = r.Nonce
		warn(ctx, w.log, "lease wait", "lease", w.lease.name(), "holder", r.String(), "term", r.Term)
	}
	var until time.Time
	if r.Within != nil {
		until = time.Now().Add(w.seen + time.Duration(*r.Within) - w.now())
	}
	w.status(ctx, "the "+w.lease.name()+", held by "+r.String(), until)
}

// failed passes a Register's error to the log, once, and to the status.
func (w *wait) failed(ctx context.Context, err error) {
	if w.said != "failed" {
		w.said = "failed"
		warn(ctx, w.log, "lease register fails", "lease", w.lease.name(), "error", err)
	}
	w.status(ctx, fmt.Sprintf("the %s, whose register fails: %v", w.lease.name(), err), time.Time{})
}

func (w *wait) status(ctx context.Context, what string, until time.Time) {
	if now := w.now(); what != w.shown || now-w.showed >= time.Second {
		w.shown, w.showed = what, now
		carried.Wait(ctx, what, until)
	}
}

// over ends the status.
func (w *wait) over(ctx context.Context) {
	if w.shown != "" {
		carried.Wait(ctx, "", time.Time{})
	}
}
