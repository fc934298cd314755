package leasesim

import (
	"context"
	"errors"
	"time"
)

var errWork = errors.New("the work failed")

// work writes to the store, until its context ends.
func (p *process) work(ctx context.Context, term uint64) error {
	p.all.Add(1)
	defer p.all.Done()
	p.locked(func() {
		if p.holders[term] != nil {
			p.faultLocked("two processes have term %d", term)
		}
		if term <= p.term {
			p.faultLocked("term %d begins after term %d", term, p.term)
		}
		p.term, p.holders[term] = max(term, p.term), p
	})
	p.began <- p
	defer func() {
		var latest bool // else it is deaf work of a term that was lost, and the process holds another
		p.locked(func() { latest = p.term == term })
		if latest && p.ctx.Err() != nil {
			close(p.returned)
		}
	}()
	for n := 1; ; {
		p.point()
		var failing, deaf bool
		p.set(func() { failing, p.failing, deaf = p.failing, false, p.deaf })
		ended := ctx.Err() != nil
		p.locked(func() { // at this moment the process believes that it is the only one
			if !ended && p.term > term {
				p.faultLocked("term %d goes on after term %d began", term, p.term)
			}
		})
		switch {
		case failing:
			return errWork
		case ended && !deaf:
			time.Sleep(p.upTo(margin / 2)) // it drains
			return ctx.Err()
		case ended && p.isOver():
			return ctx.Err()
		case ended && deaf && p.n(20) == 0:
			p.set(func() { p.deaf = false })
			return ctx.Err()
		}
		p.point() // between the look and the write
		ok := p.write(term, n)
		if ok {
			n++
		} else if ctx.Err() == nil && p.calm() {
			p.locked(func() { p.faultLocked("term %d was refused while it is held", term) })
		}
		select {
		case <-time.After(p.upTo(2 * interval)):
		case <-ctx.Done():
			if deaf {
				time.Sleep(interval)
			}
		}
	}
}

func (p *process) isOver() bool {
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}

// calm reports whether p was not paused.
func (p *process) calm() (calm bool) {
	p.set(func() { calm = p.stopped == nil })
	return calm
}

// write sends a write to the store, which refuses a term lower than one that it has seen.
func (p *process) write(term uint64, n int) (ok bool) {
	call := time.Since(p.start)
	time.Sleep(p.delay())
	p.locked(func() {
		if ok = term >= p.writer; ok {
			p.writer = term
		}
	})
	time.Sleep(p.delay())
	p.locked(func() {
		p.result.Writes = append(p.result.Writes, Write{Process: p.id, Term: term, N: n, Accepted: ok, Call: call, Return: time.Since(p.start)})
	})
	return ok
}

// delay is how long a message takes.
func (p *process) delay() (d time.Duration) {
	p.locked(func() {
		d = time.Duration(p.rand.Int64N(int64(flight)))
		if p.rough && p.rand.IntN(20) == 0 {
			d = time.Duration(p.rand.Int64N(int64(2 * ttl)))
		}
	})
	return d
}
