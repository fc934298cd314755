package restart

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// A cause is why a run ended.
type cause uint8

// Before the cause ended was added, files recorded stopped for both.
const (
	open     cause = iota // it has not ended, as far as is known
	stopped               // with nil, after a stop was requested
	failed                // with an error
	panicked              // in a *lifecycle.PanicError
	refused               // with a [Permanent] error
	died                  // without an End
	ended                 // with nil, though no stop was requested
	causes
)

func (c cause) String() string {
	return [...]string{"open", "stopped", "failed", "panicked", "permanent", "died", "ended"}[c]
}

func causeOf(err error, requested bool) cause {
	switch {
	case err == nil && requested:
		return stopped
	case err == nil:
		return ended
	case carried.IsPermanent(err):
		return refused
	case errors.Is(err, panics.Err):
		return panicked
	}
	return failed
}

// A history is the records of a ring, sorted by run and then by number.
type history []record

// runs yields the start and the end of each run; one of the two may be zero. If
// there are several ends, it yields the last: another process may have taken the run
// for dead before the run's own end was written.
func (h history) runs(yield func(start, end record) bool) {
	for i := 0; i < len(h); {
		var start, end record
		for run := h[i].run; i < len(h) && h[i].run == run; i++ {
			if h[i].cause == open {
				start = h[i]
			} else {
				end = h[i]
			}
		}
		if !yield(start, end) {
			return
		}
	}
}

// last returns the start and the end of the newest run, and whether there is any
// record of this boot. If an earlier Begin of this boot recorded that end again, the
// end's time is on this boot's clock.
func (h history) last(boot uint64) (start, end record, seen bool) {
	for i := len(h) - 1; i >= 0; i-- {
		r := &h[i]
		seen = seen || r.boot == boot
		switch {
		case r.run != h[len(h)-1].run:
		case r.cause == open:
			start = *r
		case end.cause == open:
			end = *r
		case r.boot == boot && end.boot != boot:
			end.moment = r.moment
		}
	}
	return start, end, seen
}

// newestDeath returns the newest run before the given one that died, or 0.
func (h history) newestDeath(run uint64) (newest uint64) {
	for i := range h {
		if r := &h[i]; r.cause == died && r.run < run {
			newest = max(newest, r.run)
		}
	}
	return newest
}

// end returns the record of a run that returned err now. Requested says whether a
// stop of it was requested.
func (p Policy) end(start record, now moment, err error, requested bool) record {
	end := start
	end.cause, end.moment, end.asked, end.took = causeOf(err, requested), now, retryAfter(err), now.since(start.moment)
	end.level, _ = p.decide(start.level, end.took, err != nil || end.cause == ended && end.took < p.Stable, 0, 0)
	return end
}

// settle returns the end of the last run on the clock of this boot, and makes one for
// a run that died. Seen says that the ledger already has a record of this boot. Of a
// death in this boot, d says what the black box knows, if it is not nil: the process
// lived for one beat more at most, so no wait is shorter than if the time were known.
//
// A record of another boot is of this machine if this boot began after the run and
// the ledger sees it for the first time. Otherwise the file has moved here from
// another machine, whose clock may differ. No time has passed then, and a run that
// died there forgives one level at most, so moving the file never lowers the level.
func (p Policy) settle(start, end record, seen bool, now moment, d *death) record {
	booted := now.wall - now.up
	next := func(wall int64) bool { return booted >= wall && !seen }
	if end.cause == open && start.seq != 0 {
		end = start
		end.cause, end.moment, end.took = died, now, now.since(start.moment)
		ran := end.took
		switch {
		case start.boot == now.boot && d != nil:
			end.up = min(d.up+int64(beat), now.up)
			end.wall = now.wall - (now.up - end.up)
			end.took = end.since(start.moment)
			ran = end.took
		case start.boot == now.boot:
		case next(start.wall):
			end.took = time.Duration(max(0, booted-start.wall))
			end.moment = moment{booted, start.up + int64(end.took), start.boot}
			ran = end.took
		default:
			end.took = time.Duration(max(0, now.wall-start.wall))
			ran = min(end.took, p.Stable)
		}
		end.level, _ = p.decide(start.level, ran, true, 0, 0)
	}
	switch {
	case end.boot != now.boot && next(end.wall):
		if end.up >= int64(p.Stable) {
			end.level = max(0, end.level-1)
		}
		end.boot, end.up = now.boot, now.up-max(0, now.wall-end.wall)
	case end.boot != now.boot:
		end.boot, end.up = now.boot, now.up
	case end.up > now.up:
		end.up = now.up
	}
	return end
}

// owes returns the level that a settled end leads to, and what is left of its delay.
// The ledger's salt is a part of the jitter, so that machines that began together do
// not start together again.
func (p Policy) owes(end record, now moment) (level int, wait time.Duration) {
	level, wait = p.decide(end.level, 0, false, end.asked, int64(end.run^binary.LittleEndian.Uint64(end.salt[:])))
	if end.cause == stopped {
		return level, 0
	}
	return level, max(0, wait-now.since(end.moment))
}
