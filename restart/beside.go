package restart

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// How long a disk may take for a Begin, for an End, and for a start until its
// time is corrected.
const (
	beginPatience = 10 * time.Second
	endPatience   = time.Second
	stall         = time.Second
)

var errFrozen = errors.New("the disk does not answer")

// An answer is what became of a ledger's request to its disk.
type answer struct {
	last  record        // the last run's end
	wait  time.Duration // what is left of its delay
	run   *record       // the run that has begun; nil if it must wait or has no record
	wrote *record       // the Ledger's kept end, if the file has it now
	again int           // sessions that the run before cut too
	runs  int           // the longest row of runs that cut the same one
	err   error         // why the file cannot be used
}

// A handshake is won once: by a request that is done, or by its caller, who gives
// it up.
type handshake struct{ over atomic.Bool }

func (h *handshake) won() bool { return h.over.CompareAndSwap(false, true) }

// ask runs f in a goroutine and waits for its answer, until ctx ends or patience
// is over: then it gives f up, and returns ctx's cause or errFrozen. A frozen disk
// holds the goroutine in the kernel. It ends when the disk answers again, or with
// the process, and until then no other one is started.
//
// The goroutine works on copies and hands its answer over, so that only the caller
// touches the Ledger. If f has won the handshake, it is not given up.
func (l *Ledger) ask(ctx context.Context, patience time.Duration, f func(*handshake) answer) (answer, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	wait := func(c chan answer) (a answer, err error) {
		select {
		case a = <-c:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-timer.C:
			err = errFrozen
		}
		return a, err
	}
	if l.given != nil {
		a, err := wait(l.given)
		if err != nil {
			return a, err
		}
		l.given = nil
		if l.take(a); a.run != nil {
			l.over = a.run.run
		}
	}
	c, h := make(chan answer, 1), new(handshake)
	go func() { c <- f(h) }()
	a, err := wait(c)
	if err != nil {
		if h.won() {
			l.given = c
			return a, err
		}
		a = <-c
	}
	l.take(a)
	return a, nil
}

func (l *Ledger) take(a answer) {
	if a.wrote != nil && a.wrote == l.kept {
		l.kept = nil
	}
}
