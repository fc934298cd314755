package restart

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// hold runs f, and renews the term until f has returned or the term is over.
func (t *term) hold(ctx context.Context, end time.Duration, f func(ctx context.Context, term uint64) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &leased{Context: inner, cancel: cancel, now: t.now, margin: t.margin()}
	c.expired = t.lost("no renewal for %v", t.ttl-t.margin())
	c.end.Store(int64(end))
	done, number := make(chan error, 1), t.record.Term
	go panics.Call[panics.Error](c, nil, "", func(ctx context.Context) error { return f(ctx, number) }, func(err error) { done <- err })

	soft, forget := stopping(ctx)
	defer forget()
	asked := soft.Done() // nil once the record has to say that f drains
	calls, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	var renewed chan renewal // nil if no renewal is under way
	again := time.NewTicker(t.interval())
	defer again.Stop()
	late := time.NewTimer(0) // for what again would see too late
	defer late.Stop()
	var lost error
	for {
		due := false
		select {
		case err := <-done:
			abandon()
			if renewed != nil {
				<-renewed // at once, since its context has ended
			}
			if lost == nil && c.look() {
				lost = c.expired
			}
			t.release(ctx)
			return with(lost, err)
		case r := <-renewed:
			renewed = nil
			switch {
			case r.err == nil:
				c.end.Store(int64(r.end))
			case errors.Is(r.err, ErrLeaseLost):
				lost = r.err
				cancel(lost)
			}
		case <-again.C:
			due = true
		case <-asked:
			asked, due = nil, true
		case <-late.C:
		}
		left := time.Duration(c.end.Load()) - t.now()
		if left <= 0 {
			return Permanent(fmt.Errorf("restart: %s: term %d is over, and %s still runs; it must return when its context ends",
				t.lease.name(), number, runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()))
		}
		if lost == nil && c.look() {
			lost = c.expired
		}
		if lost == nil {
			left -= c.margin
		}
		late.Reset(left)
		if due && lost == nil && renewed == nil {
			renewed = make(chan renewal, 1)
			go t.renew(calls, asked == nil, renewed)
		}
	}
}

// with adds f's error to that of the lost lease, if it says more.
func with(lost, err error) error {
	switch {
	case lost == nil:
		return err
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrLeaseLost):
		return lost
	}
	return errors.Join(lost, err)
}

type renewal struct {
	end time.Duration
	err error
}

// renew writes the record anew, and what is left of the work if f drains.
func (t *term) renew(ctx context.Context, drains bool, done chan<- renewal) {
	r := t.record
	if drains {
		r.State = leaseDraining
		if count := t.lease.Left; count != nil {
			n, err := call(ctx, t.timeout(), func(context.Context) (int, error) { return count(), nil })
			if err == nil {
				r.Left = &n
			}
		}
		if until := carried.Until(ctx); !until.IsZero() {
			within := seconds(max(0, time.Until(until)))
			r.Within = &within
		}
	}
	end, err := t.write(ctx, r)
	done <- renewal{end, err}
}

// A leased is the context of a function that holds a lease. Err and Done look at the
// clock, because after a pause the timers may be late.
type leased struct {
	context.Context
	cancel  context.CancelCauseFunc
	now     func() time.Duration
	margin  time.Duration
	expired error        // the cause if no renewal came in time
	end     atomic.Int64 // when the term ends, on the clock of now
}

// look ends c if no renewal came in time, and reports whether that is so. c may have
// ended before, with the context around it.
func (c *leased) look() bool {
	late := c.now() >= time.Duration(c.end.Load())-c.margin
	if late {
		c.cancel(c.expired)
	}
	return late || context.Cause(c.Context) == c.expired
}

func (c *leased) Err() error {
	c.look()
	return c.Context.Err()
}

func (c *leased) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

// Value makes a drain that f runs end with the term, if the lease is lost.
func (c *leased) Value(key any) any {
	v := c.Context.Value(key)
	if key != carried.UntilKey || !errors.Is(context.Cause(c.Context), ErrLeaseLost) {
		return v
	}
	end := time.Now().Add(time.Duration(c.end.Load()) - c.now())
	if outer, ok := v.(time.Time); ok && !outer.IsZero() && outer.Before(end) {
		return outer
	}
	return end
}
