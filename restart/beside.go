package restart

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// How long a disk may take.
const (
	beginPatience = 10 * time.Second // for one of the two requests of a Begin
	endPatience   = time.Second      // for an End
	stall         = time.Second      // for a start, before its time is corrected
)

var errFrozen = errors.New("the disk does not answer")

// An answer is the result of a ledger's request to its disk.
type answer struct {
	last  record        // the last run's end
	wait  time.Duration // what is left of its delay
	run   *record       // the run that has begun; nil if it must wait or has no record
	wrote *record       // the Ledger's kept end, if it is now in the file
	again int           // how many of the sessions the run before cut too
	runs  int           // the longest row of runs that cut the same session
	died  bool          // the run before has died, and last is the first record of that
	box   boxing        // of the black box
	err   error         // why the file cannot be used
}

// A handshake is won once: by the request if it finishes first, or by its caller if
// that abandons the request first.
type handshake struct{ over atomic.Bool }

func (h *handshake) won() bool { return h.over.CompareAndSwap(false, true) }

// ask runs f in a goroutine and waits for its answer. If ctx ends or patience is over
// first, it abandons f and returns ctx's cause or errFrozen; but if f has won the
// handshake, ask waits for it. A frozen disk holds the goroutine in the kernel: it
// ends when the disk answers again, or with the process. Until then ask starts no
// other one.
//
// The goroutine works on copies and sends its answer, so only the caller touches the
// Ledger.
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
		l.take(a)
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
