package drain

import "time"

// This file is the arithmetic that Plan documents under "Times".

func (p Plan) budget() time.Duration {
	if p.Budget == 0 {
		return DefaultBudget
	}
	return p.Budget
}

// deadline returns when the plan is over, if Run begins at begin. signal is zero if
// there was none. outer is the end of the outer step's Stop, zero if there is none.
func (p Plan) deadline(signal, begin, outer time.Time) time.Time {
	if signal.IsZero() {
		signal = begin
	}
	d := signal.Add(p.budget())
	// lastOf is for the Kills of phases without a reserve.
	last := lastOf(p.budget())
	if late := begin.Add(min(reserved(p.Phases), p.budget()-last) + last); late.After(d) {
		d = late
	}
	if left := outer.Sub(begin); left > 0 { // else there is no outer step, or its time is over
		if before := outer.Add(-min(left/10, margin)); before.Before(d) {
			d = before
		}
	}
	return d
}

// margin is how long before the outer Stop's end an inner plan ends, at most.
const margin = 100 * time.Millisecond

func reserved(phases []Phase) (sum time.Duration) {
	for _, p := range phases {
		sum += p.Reserve
	}
	return sum
}

// A clock divides the time until deadline among phases.
type clock struct {
	phases   []Phase
	deadline time.Time
}

// span returns how long phase i may take if it begins now, and how much of that is
// kept for Kill. If the plan is forced and the phase has no reserve, all of it is.
func (c clock) span(i int, now time.Time, forced bool) (whole, kill time.Duration) {
	p, left := c.phases[i], c.deadline.Sub(now)-reserved(c.phases[i+1:])
	whole = p.Timeout
	switch {
	case forced && p.Reserve > 0:
		whole = p.Reserve
	case forced:
		if whole = lastOf(left); p.Timeout > 0 {
			whole = min(whole, p.Timeout)
		}
		return whole, whole
	case whole == 0:
		sharers := 0
		for _, q := range c.phases[i:] {
			if q.Timeout == 0 {
				sharers++
			}
		}
		whole = max(left/time.Duration(sharers), p.Reserve)
	}
	whole = max(min(whole, left), 0)
	return whole, lastOf(whole)
}

// lastOf returns the part of a phase's time that is kept for Kill.
func lastOf(whole time.Duration) time.Duration {
	return max(min(whole/10, time.Second), 0)
}
