package restart

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/panics"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// end returns the end of a run that returned err now, after a stop was requested
// or not.
func (p Policy) end(start record, now moment, err error, requested bool) record {
	end := start
	end.cause, end.moment, end.asked, end.took = causeOf(err, requested), now, retryAfter(err), now.since(start.moment)
	end.level, _ = p.decide(start.level, end.took, err != nil || end.cause == ended && end.took < p.Stable, 0, 0)
	return end
}

func causeOf(err error, requested bool) cause {
	var p *panics.Error
	switch {
	case err == nil && requested:
		return stopped
	case err == nil:
		return ended
	case wire.IsPermanent(err):
		return refused
	case errors.As(err, &p):
		return panicked
	}
	return failed
}

// settle returns the end of the last run on the clock of this boot, and that of a
// run that left none. Seen says that the ledger has a record of this boot.
//
// Another boot is the machine's next one only if that began after the run, and if
// the ledger sees it for the first time. Else the file has moved here from another
// machine. How far apart two machines' clocks are is unknown, so no time has
// passed then, and a run that died there forgives one level at most: as often as
// the file moves, it never takes the level down.
func (p Policy) settle(start, end record, seen bool, now moment) record {
	booted := now.wall - now.up
	next := func(wall int64) bool { return booted >= wall && !seen }
	if end.cause == open && start.seq != 0 {
		end = start
		end.cause, end.moment, end.took = died, now, now.since(start.moment)
		ran := end.took
		switch {
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

// owes returns the level that a settled end leads to, and what is left of its
// delay. The ledger's salt keeps machines that began together from starting
// together again.
func (p Policy) owes(end record, now moment) (level int, wait time.Duration) {
	level, wait = p.decide(end.level, 0, false, end.asked, int64(end.run^binary.LittleEndian.Uint64(end.salt[:])))
	if end.cause == stopped {
		return level, 0
	}
	return level, max(0, wait-now.since(end.moment))
}
