package restart

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/logs"
)

const boxSuffix = ".inflight"

func (l *Ledger) boxPath() string { return cmp.Or(l.BoxPath, l.Path+boxSuffix) }

// Box returns the ledger's black box. Call it before the first Begin: Begin opens the
// box, and End closes it. Each call returns the same one.
func (l *Ledger) Box() *Box {
	if l.box == nil {
		if l.run != nil {
			panic("restart: Ledger.Box: the run has begun; call Box before Begin")
		}
		l.box = new(Box)
	}
	return l.box
}

// validate returns an error that names the first field of the box that cannot work.
func (l *Ledger) validate() error {
	switch {
	case l.Deaths < 0 || l.Deaths > 100:
		return fmt.Errorf("restart: Ledger: Deaths: %d must be from 1 to 100; 0 means 2", l.Deaths)
	case l.BoxPath == l.Path:
		return fmt.Errorf("restart: Ledger: BoxPath is Path, %s; name another file, or none", l.Path)
	case l.MaxSuspects < 0:
		return fmt.Errorf("restart: Ledger: MaxSuspects: %d is negative; 0 means 8", l.MaxSuspects)
	}
	return nil
}

// A boxing is the part of an answer that concerns the black box and the crash output.
type boxing struct {
	open     *register // the run's register; nil if nothing is recorded
	err      error     // what is wrong with the box
	whole    whole     // what the last run that died had in flight
	suspects []mark    // MaxSuspects of them at most
	qualify  int       // how many there are
	until    int64     // when they cease to be suspects
	crash    string    // the crash output of the run that died
	crashErr error     // why there will be none
}

// learn takes from the file what the caller of Begin needs to know.
func (x *boxing) learn(f *boxFile, now moment, deaths, most int, stable time.Duration) {
	if f == nil || f.image == nil {
		return
	}
	if x.whole.run == 0 && f.deathKept() { // an earlier Begin found the death
		x.whole = whole{f.word(atDead), f.cut()}
	}
	x.suspects, x.qualify, x.until = f.accused(deaths, most, now, stable)
}

// recording starts the register of the run that has begun.
func (l *Ledger) recording(ctx context.Context, a answer) {
	l.whole = a.box.whole
	if l.box == nil {
		return
	}
	most := cmp.Or(l.MaxSuspects, 8)
	l.box.accused.Store(nil)
	switch n := a.box.qualify; {
	case n > most:
		warn(ctx, l.Policy.Logger, "suspects dropped", "sessions", n, "most", most)
	case n > 0 && a.box.open != nil:
		slices.Sort(a.box.suspects)
		l.box.accused.Store(&accused{
			marks: a.box.suspects, named: make([]atomic.Bool, n), until: a.box.until,
			salt: a.run.salt, times: cmp.Or(l.Deaths, 2), log: l.Policy.Logger,
		})
	}
	if l.open = a.box.open; l.open != nil {
		go l.open.keep(l.sys, l.Policy.Logger, l.boxPath(), ctx, l.requested) // ends with the run
		l.box.open.Store(l.open)
	}
}

// tell logs what Begin found.
func (l *Ledger) tell(ctx context.Context, a answer) {
	log := l.Policy.Logger
	if a.died && (a.last.cuts > 0 || a.last.over > 0 || a.box.crash != "") {
		args := []any{"ran", logs.Seconds(a.last.took), "sessions", a.last.cuts}
		if a.last.over > 0 {
			args = append(args, "unrecorded", a.last.over)
		}
		if a.box.crash != "" {
			args = append(args, "error", a.last.crash, "stack", a.box.crash)
		}
		warn(ctx, log, "run died", args...)
	}
	if a.died && a.again > 0 {
		warn(ctx, log, "sessions cut again", "sessions", a.again, "runs", a.runs)
	}
	if err := a.box.err; err != nil && a.err == nil {
		boxUnavailable(ctx, log, l.boxPath(), err)
	}
	if err := a.box.crashErr; err != nil {
		warn(ctx, log, "crash output unavailable", "path", l.Path+crashSuffix, "error", err)
	}
}
