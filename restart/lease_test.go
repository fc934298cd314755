package restart_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/panics"
	"github.com/evenkeel-go/evenkeel/restart"
	"github.com/evenkeel-go/evenkeel/restart/leasetest"
)

const (
	ttl      = 15 * time.Second // the default
	interval = ttl / 10
	margin   = ttl / 4
)

var discard = slog.New(slog.DiscardHandler)

// An engine is a register behind a line that a test can cut.
type engine struct {
	restart.Register
	cut    atomic.Bool // requests get no answer
	deaf   atomic.Bool // so do the ends of contexts
	mute   atomic.Bool // answers get lost, requests do not
	failed atomic.Bool // requests fail
	sets   atomic.Int32
	slow   time.Duration             // how long an answer to a Set takes
	sent   atomic.Pointer[time.Time] // of the last Set that was answered
}

var errEngine = errors.New("no route to host")

func (e *engine) Get(ctx context.Context) ([]byte, string, error) {
	if err := e.line(ctx); err != nil {
		return nil, "", err
	}
	return e.Register.Get(ctx)
}

func (e *engine) Set(ctx context.Context, value []byte, version string) (string, error) {
	sent := time.Now()
	if err := e.line(ctx); err != nil {
		return "", err
	}
	next, err := e.Register.Set(ctx, value, version)
	e.sets.Add(1)
	time.Sleep(e.slow)
	if e.mute.Load() {
		<-ctx.Done()
		return "", ctx.Err()
	}
	if err == nil {
		e.sent.Store(&sent)
	}
	return next, err
}

func (e *engine) line(ctx context.Context) error {
	if e.failed.Load() {
		return errEngine
	}
	if e.deaf.Load() {
		time.Sleep(time.Hour)
	}
	if e.cut.Load() {
		<-ctx.Done()
	}
	return ctx.Err()
}

// A job runs under a lease, until it is stopped or its context ends.
type job struct {
	term    uint64
	ctx     context.Context
	held    chan struct{} // closed when it runs
	stop    chan error    // ends it
	err     chan error    // of the whole function
	ended   time.Time     // when its context or the job ended
	cancel  context.CancelCauseFunc
	lasting time.Duration // how long it runs on after the end of its context
}

func work(ctx context.Context, l *restart.Lease, lasting time.Duration) *job {
	j := &job{held: make(chan struct{}), stop: make(chan error, 1), err: make(chan error, 1), lasting: lasting}
	ctx, j.cancel = context.WithCancelCause(ctx)
	if l.Logger == nil {
		l.Logger = discard
	}
	f := l.Wrap(j.run)
	go func() { j.err <- f(ctx) }()
	return j
}

func (j *job) run(ctx context.Context, term uint64) error {
	j.term, j.ctx = term, ctx
	close(j.held)
	select {
	case err := <-j.stop:
		j.ended = time.Now()
		return err
	case <-ctx.Done():
		j.ended = time.Now()
		time.Sleep(j.lasting)
		return ctx.Err()
	}
}

func (j *job) running() bool {
	select {
	case <-j.held:
		return true
	default:
		return false
	}
}

// The next holder begins within an interval of an orderly end, with the next term.
// The lease is held until f has returned, however long that takes.
func TestLeaseHandOver(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(j *job)
		want error
	}{
		{"returns", func(j *job) { j.stop <- nil }, nil},
		{"fails", func(j *job) { j.stop <- io.EOF }, io.EOF},
		{"stopped", func(j *job) { j.cancel(io.EOF) }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m leasetest.Memory
				first := work(t.Context(), &restart.Lease{Register: &m}, time.Minute)
				<-first.held
				second := work(t.Context(), &restart.Lease{Register: &m}, 0)
				time.Sleep(time.Hour)
				if second.running() {
					t.Error("two holders")
				}
				tt.end(first)
				if err := <-first.err; !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				returned := time.Now()
				if second.running() {
					t.Error("two holders while the first drains")
				}
				<-second.held
				if gap := time.Since(returned); gap > interval || first.term != 1 || second.term != 2 {
					t.Errorf("term %d began %v after the end of term %d", second.term, gap, first.term)
				}
				second.stop <- nil
				<-second.err
			})
		})
	}
}

// No record says for a moment that the lease is free while f still runs. The waiter
// with a short TTL would see it, as it polls 15 times between two renewals.
func TestLeaseHeldUntilReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m leasetest.Memory
		s := &soft{}
		s.ctx, s.tell = context.WithCancel(t.Context())
		first := work(context.WithValue(t.Context(), carried.SoftKey, s), &restart.Lease{Register: &m}, time.Minute)
		<-first.held
		second := work(t.Context(), &restart.Lease{Register: &m, TTL: time.Second}, 0)
		time.Sleep(time.Minute + interval/2)
		s.tell()
		time.Sleep(time.Minute)
		first.cancel(io.EOF)
		if <-first.err; second.running() {
			t.Errorf("the next holder began in term %d while the first still ran", second.term)
		}
		<-second.held
		second.stop <- nil
		<-second.err
	})
}

// If the holder dies, its context would have ended before the next holder begins, and
// that is within TTL and an interval.
func TestLeaseDeath(t *testing.T) {
	for _, how := range []string{"cut", "deaf", "failed"} {
		synctest.Test(t, func(t *testing.T) {
			var m leasetest.Memory
			e := &engine{Register: &m}
			first := work(t.Context(), &restart.Lease{Register: e}, margin/2)
			<-first.held
			second := work(t.Context(), &restart.Lease{Register: &m}, 0)
			time.Sleep(time.Hour + interval/2)
			died := time.Now()
			e.cut.Store(how == "cut")
			e.deaf.Store(how == "deaf")
			e.failed.Store(how == "failed")
			<-second.held
			took := time.Since(died)
			if took < ttl-interval || took > ttl+interval {
				t.Errorf("%s: the next holder begins after %v", how, took)
			}
			err := <-first.err
			if want := e.sent.Load().Add(ttl - margin); !first.ended.Equal(want) || !errors.Is(err, restart.ErrLeaseLost) || !errors.Is(context.Cause(first.ctx), restart.ErrLeaseLost) {
				t.Errorf("%s: ended %v after %v: %v", how, want.Sub(first.ended), died, err)
			}
			second.stop <- nil
			<-second.err
			time.Sleep(2 * time.Hour) // for the deaf register
		})
	}
}

// A loss of the engine for half of TTL changes nothing, at whichever moment it begins.
func TestLeaseOutage(t *testing.T) {
	for i := range 20 {
		for _, hang := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var m leasetest.Memory
				e := &engine{Register: &m}
				j := work(t.Context(), &restart.Lease{Register: e}, 0)
				<-j.held
				second := work(t.Context(), &restart.Lease{Register: &m}, 0)
				time.Sleep(time.Minute + time.Duration(i)*interval/20)
				line := &e.failed
				if hang {
					line = &e.cut
				}
				line.Store(true)
				time.Sleep(ttl / 2)
				line.Store(false)
				time.Sleep(time.Minute)
				if j.ctx.Err() != nil || second.running() {
					t.Errorf("outage at %d/20, hang %v: %v", i, hang, context.Cause(j.ctx))
				}
				j.stop <- nil
				<-j.err
				second.cancel(nil)
				<-second.err
			})
		}
	}
}

// A Policy takes a lost lease up again, without raising its level.
func TestLeasePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := &engine{Register: &leasetest.Memory{}}
		l := &restart.Lease{Register: e, Logger: discard}
		var terms []uint64
		ctx, cancel := context.WithCancel(t.Context())
		p := restart.Policy{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		done := make(chan error)
		go func() {
			done <- p.Wrap(l.Wrap(func(ctx context.Context, term uint64) error {
				terms = append(terms, term)
				<-ctx.Done()
				return ctx.Err()
			}))(ctx)
		}()
		for range 10 {
			time.Sleep(time.Minute)
			e.failed.Store(true)
			time.Sleep(time.Minute)
			e.failed.Store(false)
		}
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != context.Canceled || len(terms) != 11 || terms[10] != 11 {
			t.Errorf("%v, terms %v", err, terms)
		}
		if n := strings.Count(log.String(), "backoff=0 wait=0s"); n != 10 || strings.Count(log.String(), "\n") != 10 {
			t.Errorf("%s", &log)
		}
	})
}

func deafWork(ctx context.Context, term uint64) error {
	time.Sleep(time.Hour)
	return nil
}

// An f that ignores the end of its context is named in a permanent error at the end of
// the term, and the lease is not released.
func TestLeaseDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m leasetest.Memory
		e := &engine{Register: &m}
		done := make(chan error, 1)
		go func() {
			done <- (&restart.Lease{Register: e, Logger: discard}).Wrap(deafWork)(t.Context())
		}()
		time.Sleep(time.Minute)
		e.cut.Store(true)
		err := <-done
		if took := time.Since(*e.sent.Load()); took != ttl || !carried.IsPermanent(err) || !strings.Contains(err.Error(), "restart_test.deafWork") {
			t.Errorf("after %v: %v", took, err)
		}
		if value, _, _ := m.Get(t.Context()); !strings.Contains(string(value), `"state":"held"`) {
			t.Errorf("%s", value)
		}
		time.Sleep(time.Hour)
	})
}

// A holder whose machine slept finds its context ended at the first look, though no
// timer has fired. A watcher of Done sees it within an interval.
func TestLeaseSuspend(t *testing.T) {
	for _, slept := range []time.Duration{ttl/2 - interval, ttl - margin, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			var sleep atomic.Int64
			l := &restart.Lease{Register: &leasetest.Memory{}}
			l.SetUptime(func() time.Duration { return time.Since(begin) + time.Duration(sleep.Load()) })
			j := work(t.Context(), l, 0)
			<-j.held
			time.Sleep(time.Minute + interval/2)
			sleep.Add(int64(slept))
			if ended := j.ctx.Err() != nil; ended != (slept >= ttl-margin) {
				t.Errorf("slept %v: %v", slept, context.Cause(j.ctx))
			}
			j.stop <- nil
			if err := <-j.err; errors.Is(err, restart.ErrLeaseLost) != (slept >= ttl-margin) {
				t.Errorf("slept %v: %v", slept, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var sleep atomic.Int64
		l := &restart.Lease{Register: &leasetest.Memory{}}
		l.SetUptime(func() time.Duration { return time.Since(begin) + time.Duration(sleep.Load()) })
		j := work(t.Context(), l, 0)
		<-j.held
		done := j.ctx.Done()
		time.Sleep(time.Minute + interval/2)
		sleep.Add(int64(time.Hour))
		woke := time.Now()
		<-done
		if took := time.Since(woke); took > interval {
			t.Errorf("Done was closed after %v", took)
		}
		<-j.err
	})
}

// The record says that the holder drains, what is left and until when at most. A
// waiter passes that to the status, and the status ends with the wait.
func TestLeaseDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m leasetest.Memory
		s := &soft{}
		s.ctx, s.tell = context.WithCancel(t.Context())
		first := work(context.WithValue(context.WithValue(t.Context(), carried.SoftKey, s), carried.UntilKey, time.Now().Add(90*time.Second)),
			&restart.Lease{Register: &m, Left: func() int { return 3 }}, 0)
		<-first.held
		var log bytes.Buffer
		var what []string
		var end []time.Time
		waiter := context.WithValue(t.Context(), carried.WaitKey, carried.Waits(func(w string, until time.Time) {
			what, end = append(what, w), append(end, until)
		}))
		second := work(waiter, &restart.Lease{Register: &m, Logger: slog.New(slog.NewTextHandler(&log, nil))}, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(what); n < 35 || n > 61 || !strings.HasPrefix(what[0], "the lease, held by ") || !end[0].IsZero() || strings.Contains(what[n-1], "draining") {
			t.Errorf("%d: %q", n, what)
		}
		s.tell()
		time.Sleep(interval)
		synctest.Wait()
		n := len(what)
		// The waiter counts from when it sees the record, which is an interval late at most.
		if late := end[n-1].Sub(carried.Until(first.ctx)); !strings.HasSuffix(what[n-1], ", draining, 3 left") || late < 0 || late > interval {
			t.Errorf("%q until %v", what[n-1], end[n-1])
		}
		if strings.Count(log.String(), "lease wait") != 1 {
			t.Errorf("%s", &log)
		}
		if value, _, _ := m.Get(t.Context()); !strings.Contains(string(value), `"state":"draining"`) {
			t.Errorf("%s", value)
		}
		first.stop <- nil
		<-second.held
		synctest.Wait()
		if n := len(what); what[n-1] != "" {
			t.Errorf("%q", what[n-1])
		}
		second.stop <- nil
		if err := errors.Join(<-first.err, <-second.err); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "lease held") || !strings.Contains(log.String(), "lease released") {
			t.Errorf("%s", &log)
		}
	})
}

type soft struct {
	ctx  context.Context
	tell func()
}

func (s *soft) Soft() (soft, owner context.Context) { return s.ctx, context.Background() }

// A drain that f runs when its lease is lost ends in time.
func TestLeaseLostDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{Register: &leasetest.Memory{}}
		var over time.Time
		done := make(chan error, 1)
		l := &restart.Lease{Register: e, Logger: discard}
		go func() {
			done <- l.Wrap(func(ctx context.Context, term uint64) error {
				<-ctx.Done()
				plan := drain.Plan{Logger: discard, Phases: []drain.Phase{{Name: "slow", Steps: []drain.Step{{Name: "slow", Stop: func(ctx context.Context) error {
					<-ctx.Done()
					return nil
				}}}}}}
				_, err := plan.Run(ctx)
				over = time.Now()
				return err
			})(t.Context())
		}()
		time.Sleep(time.Minute)
		e.cut.Store(true)
		err := <-done
		if took := over.Sub(*e.sent.Load()); took >= ttl || took < ttl-margin || !errors.Is(err, restart.ErrLeaseLost) || carried.IsPermanent(err) {
			t.Errorf("the drain ended after %v: %v", took, err)
		}
	})
}

// A renewal counts from when it was sent, not from its answer.
func TestLeaseSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{Register: &leasetest.Memory{}, slow: ttl/5 - 1}
		j := work(t.Context(), &restart.Lease{Register: e}, 0)
		<-j.held
		time.Sleep(time.Minute)
		e.failed.Store(true)
		err := <-j.err
		if took := j.ended.Sub(*e.sent.Load()); took != ttl-margin {
			t.Errorf("ended %v after the last renewal was sent: %v", took, err)
		}
	})
}

// A lease can be lost while f drains after a stop.
func TestLeaseLostInDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{Register: &leasetest.Memory{}}
		j := work(t.Context(), &restart.Lease{Register: e}, ttl-margin/2)
		<-j.held
		time.Sleep(time.Minute)
		e.failed.Store(true)
		j.cancel(io.EOF)
		if err := <-j.err; !errors.Is(err, restart.ErrLeaseLost) || time.Since(*e.sent.Load()) > ttl+margin {
			t.Error(err)
		}
	})
}

// If the answers to Sets get lost, the lease knows in the end who has it.
func TestLeaseUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{Register: &leasetest.Memory{}}
		e.mute.Store(true)
		j := work(t.Context(), &restart.Lease{Register: e}, 0)
		time.Sleep(time.Minute)
		if j.running() || e.sets.Load() == 0 {
			t.Fatal("runs without an answer")
		}
		e.mute.Store(false)
		<-j.held
		if j.term != 1 {
			t.Errorf("term %d", j.term)
		}
		e.mute.Store(true)
		time.Sleep(ttl / 2)
		e.mute.Store(false)
		time.Sleep(time.Minute)
		if j.ctx.Err() != nil {
			t.Error(context.Cause(j.ctx))
		}
		e.mute.Store(true)
		time.AfterFunc(ttl/5, func() { e.mute.Store(false) })
		j.stop <- nil
		if err := <-j.err; err != nil {
			t.Error(err)
		}
		begin := time.Now()
		next := work(t.Context(), &restart.Lease{Register: e}, 0)
		<-next.held
		if took := time.Since(begin); took != 0 || next.term != 2 {
			t.Errorf("term %d after %v", next.term, took)
		}
		next.stop <- nil
		<-next.err
		e.mute.Store(true) // a wait that ends with an open Set leaves no lease
		last := work(t.Context(), &restart.Lease{Register: e}, 0)
		time.Sleep(ttl / 10)
		last.cancel(io.EOF)
		e.mute.Store(false)
		if err := <-last.err; err != io.EOF {
			t.Error(err)
		}
		begin = time.Now()
		next = work(t.Context(), &restart.Lease{Register: e}, 0)
		<-next.held
		if took := time.Since(begin); took != 0 || next.term != 4 {
			t.Errorf("term %d after %v", next.term, took)
		}
		next.stop <- nil
		<-next.err
	})
}

// A wait ends with its context, and earlier and without an error when the stop begins.
func TestLeaseWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m leasetest.Memory
		first := work(t.Context(), &restart.Lease{Register: &m}, 0)
		<-first.held
		second := work(t.Context(), &restart.Lease{Register: &m}, 0)
		s := &soft{}
		s.ctx, s.tell = context.WithCancel(t.Context())
		third := work(context.WithValue(t.Context(), carried.SoftKey, s), &restart.Lease{Register: &m}, 0)
		time.Sleep(time.Minute)
		begin := time.Now()
		second.cancel(io.EOF)
		s.tell()
		if err := <-second.err; err != io.EOF {
			t.Error(err)
		}
		if err := <-third.err; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 0 || second.running() || third.running() {
			t.Errorf("after %v", took)
		}
		first.stop <- nil
		<-first.err
	})
}

// A Register that fails does not end a wait. It is logged once, and shown.
func TestLeaseRegisterFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var what string
		e := &engine{Register: &leasetest.Memory{}}
		e.failed.Store(true)
		ctx := context.WithValue(t.Context(), carried.WaitKey, carried.Waits(func(w string, until time.Time) { what = w }))
		j := work(ctx, &restart.Lease{Register: e, Logger: slog.New(slog.NewTextHandler(&log, nil))}, 0)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(log.String(), "lease register fails"); n != 1 || what != "the lease, whose register fails: no route to host" {
			t.Errorf("%d times; %s", n, what)
		}
		e.failed.Store(false)
		<-j.held
		j.stop <- nil
		<-j.err
	})
}

// An outrun register loses the first Set, and another process sets it instead.
type outrun struct {
	*leasetest.Memory
	first func()
}

func (o *outrun) Set(ctx context.Context, value []byte, version string) (string, error) {
	if o.first == nil {
		return o.Memory.Set(ctx, value, version)
	}
	o.first()
	o.first = nil
	<-ctx.Done()
	return "", ctx.Err()
}

// A waiter that ends with an open Set leaves the lease of a faster one alone.
func TestLeaseOutrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m leasetest.Memory
		var faster *job
		waiter := work(t.Context(), &restart.Lease{Register: &outrun{&m, func() {
			faster = work(t.Context(), &restart.Lease{Register: &m}, 0)
			<-faster.held
		}}}, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		waiter.cancel(io.EOF)
		if err := <-waiter.err; err != io.EOF {
			t.Error(err)
		}
		if value, version, _ := m.Get(t.Context()); !strings.Contains(string(value), `"state":"held"`) || faster.ctx.Err() != nil {
			t.Errorf("version %s: %s", version, value)
		}
		time.Sleep(time.Minute)
		if err := faster.ctx.Err(); err != nil {
			t.Error(context.Cause(faster.ctx))
		}
		faster.stop <- nil
		if err := <-faster.err; err != nil {
			t.Error(err)
		}
	})
}

type named struct{ *leasetest.Memory }

func (named) String() string { return "bot" }

// What cannot work is a permanent error that names the field.
func TestLeaseInvalid(t *testing.T) {
	other := &leasetest.Memory{}
	other.Set(t.Context(), []byte(`{"some": "thing"}`), "")
	for _, tt := range []struct {
		l    restart.Lease
		want string
	}{
		{restart.Lease{}, "restart: Lease: Register is nil"},
		{restart.Lease{Register: other, TTL: -1}, "restart: Lease: TTL: -1ns is less than 100ms"},
		{restart.Lease{Register: other, TTL: 15}, "restart: Lease: TTL: 15ns is less than 100ms"},
		{restart.Lease{Register: other}, "restart: lease: the register does not hold a lease's record; use another key"},
		{restart.Lease{Register: named{other}}, "restart: lease bot: the register does not hold"},
	} {
		err := tt.l.Wrap(deafWork)(t.Context())
		if !carried.IsPermanent(err) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	defer func() {
		if v := recover(); v == nil {
			t.Error("no panic")
		}
	}()
	(&restart.Lease{}).Wrap(nil)
}

// If another process has the lease all the same, f's context ends at once, and the
// lease of the other one stays.
func TestLeaseTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m leasetest.Memory
		j := work(t.Context(), &restart.Lease{Register: &m}, 0)
		<-j.held
		value, version, _ := m.Get(t.Context())
		var r map[string]any
		if err := json.Unmarshal(value, &r); err != nil {
			t.Fatal(err)
		}
		r["term"], r["nonce"], r["holder"] = 7, "another", "intruder"
		value, _ = json.Marshal(r)
		version, _ = m.Set(t.Context(), value, version)
		begin := time.Now()
		time.AfterFunc(ttl, func() { j.cancel(io.EOF) }) // without this, a holder that takes the lease back never ends
		err := <-j.err
		if took := time.Since(begin); took > interval || !errors.Is(err, restart.ErrLeaseLost) || !strings.Contains(err.Error(), "term 1: lease lost: intruder since") {
			t.Errorf("after %v: %v", took, err)
		}
		if _, now, _ := m.Get(t.Context()); now != version {
			t.Error("the other's record was changed")
		}
	})
}

// f's panic is an error, and its own error stays beside that of a lost lease.
func TestLeaseErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{Register: &leasetest.Memory{}}
		l := &restart.Lease{Register: e, Logger: discard}
		var p *panics.Error
		err := l.Wrap(func(context.Context, uint64) error { panic("no") })(t.Context())
		if !errors.As(err, &p) || p.Value != "no" {
			t.Error(err)
		}
		time.AfterFunc(time.Minute, func() { e.failed.Store(true) })
		err = l.Wrap(func(ctx context.Context, term uint64) error {
			<-ctx.Done()
			return fmt.Errorf("half written: %w", io.EOF)
		})(t.Context())
		if !errors.Is(err, restart.ErrLeaseLost) || !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}
