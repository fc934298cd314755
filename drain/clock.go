package drain

import "time"

func (p Plan) budget() time.Duration {
	if p.Budget == 0 {
		return DefaultBudget
	}
	return p.Budget
}

// deadline returns when the plan is over. outer is when another drain will stop
// waiting for this one.
func (p Plan) deadline(asked, begin, outer time.Time) time.Time {
	if asked.IsZero() {
		asked = begin
	}
	d := asked.Add(p.budget())
	// The last second is for the Kills of phases without a reserve.
	if late := begin.Add(min(reserved(p.Phases)+lastOf(p.budget()), p.budget())); late.After(d) {
		d = late
	}
	if left := outer.Sub(begin); left > 0 { // else there is none, or it does not wait any more
		if before := outer.Add(-min(left/10, margin)); before.Before(d) {
			d = before
		}
	}
	return d
}

// margin is how long before an outer drain's step an inner drain ends.
const margin = 100 * time.Millisecond

func reserved(phases []Phase) (sum time.Duration) {
	for _, p := range phases {
		sum += p.Reserve
	}
	return sum
}

// A clock divides the time up to a deadline among phases.
type clock struct {
	phases   []Phase
	deadline time.Time
}

// span returns how long phase i may take if it starts at now, and how much of that
// is kept for Kill. A forced phase has its reserve at most; if it has none, all its
// time is for Kill.
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
