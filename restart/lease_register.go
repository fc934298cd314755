package restart

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// get reads the record and its version.
func (t *term) get(ctx context.Context) (r leaseRecord, version string, err error) {
	type state struct {
		value   []byte
		version string
	}
	s, err := call(ctx, t.timeout(), func(ctx context.Context) (s state, err error) {
		s.value, s.version, err = t.lease.Register.Get(ctx)
		return s, err
	})
	if err == nil {
		r, err = parseLease(s.value, s.version)
	}
	return r, s.version, err
}

// set writes r over t.version. It returns the end of the term that this makes, which
// counts from when it was sent.
func (t *term) set(ctx context.Context, r leaseRecord) (end time.Duration, err error) {
	t.certain = false
	sent, before := t.now(), t.version
	version, err := call(ctx, t.timeout(), func(ctx context.Context) (string, error) {
		return t.lease.Register.Set(ctx, r.encode(), before)
	})
	if err != nil {
		return 0, err
	}
	t.version, t.certain = version, true
	return sent + t.ttl, nil
}

// write replaces our record by r. If the last Set was not answered, it first reads
// which record is there. It returns ErrLeaseLost if another process has the lease, or
// if it was released.
func (t *term) write(ctx context.Context, r leaseRecord) (end time.Duration, err error) {
	for range 3 {
		if !t.certain {
			last, version, err := t.get(ctx)
			switch {
			case err != nil:
				return 0, err
			case last.Term < t.record.Term: // not yet, on a replica of the engine
				return 0, fmt.Errorf("the register has an old record, of term %d", last.Term)
			case last.Nonce != t.record.Nonce || last.State == leaseReleased:
				return 0, t.lost("%s, has term %d", last, last.Term)
			}
			t.version = version
		}
		if end, err = t.set(ctx, r); !errors.Is(err, ErrChanged) {
			return end, err
		}
	}
	return 0, err
}

// release lets the next holder in. If that does not succeed, the term runs out by
// itself.
func (t *term) release(ctx context.Context) {
	free := t.record
	free.State = leaseReleased
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.margin())
	defer cancel()
	for {
		_, err := t.write(within, free)
		if err == nil {
			t.log.InfoContext(ctx, "lease released", "lease", t.lease.name(), "term", free.Term)
		}
		if err == nil || errors.Is(err, ErrLeaseLost) { // lost: an earlier try was enough, or another process has it
			return
		}
		if sleep(within, t.interval()) != nil {
			t.log.WarnContext(ctx, "lease not released", "lease", t.lease.name(), "term", free.Term, "error", err, "wait", logs.Seconds(t.ttl))
			return
		}
	}
}

// call calls a Register. After the timeout it waits no longer, even if the Register
// ignores the end of its context. Then the goroutine ends when the Register returns.
func call[T any](ctx context.Context, timeout time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer for %v: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		var value T
		panics.Call[panics.Error](ctx, nil, "", func(ctx context.Context) (err error) {
			value, err = f(ctx)
			return err
		}, func(err error) { answered <- answer{value, err} })
	}()
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
