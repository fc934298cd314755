package timeline

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A clock makes times of an input's stamps.
type clock struct {
	offset   time.Duration // of times without a zone, to the east
	guess    string        // what is to be said about it; empty if nothing was guessed
	leap     time.Duration // by which TAI64N is ahead of multilog's
	day      time.Time     // of a time of day: the one of the line before
	boot     time.Time     // of the machine; zero if it is not known
	last     time.Time
	dateless bool      // each line counts, for midnight
	latest   time.Time // no date without a year is later
}

// resolve returns the moment of a stamp.
func (c *clock) resolve(st stamp) time.Time {
	t := st.Time
	switch {
	case st.tai:
		return t.Add(-c.leap)
	case st.boot && c.boot.IsZero():
		return time.Time{}
	case st.boot:
		return c.boot.Add(t.Sub(time.Unix(0, 0)))
	case st.noDate:
		t = c.day.Add(t.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)))
		if c.last.Sub(t) > 12*time.Hour { // midnight lies between
			c.day, t = c.day.AddDate(0, 0, 1), t.AddDate(0, 0, 1)
		}
		c.last = t
	case st.noYear:
		t = t.AddDate(c.latest.Year()-t.Year(), 0, 0)
		if t.After(c.latest) {
			t = t.AddDate(-1, 0, 0)
		}
	}
	if !st.noZone {
		return t
	}
	return t.Add(-c.offset).In(time.FixedZone("", int(c.offset/time.Second)))
}

// A sight is a line of the first ones of an input, for what it says about clocks.
type sight struct {
	stamp
	pid, child int
	kind       eventKind
	msg        string
}

const (
	prefix   = 256 << 10 // bytes of an input that are looked at first
	sights   = 4000      // lines of them
	leapTAI  = 27 * time.Second
	quarter  = 15 * time.Minute
	weighty  = 12 // bytes that make a message one of its kind
	tolerate = 5 * time.Second
)

// learn finds out in which zones the inputs write. What the same line, the same
// message or the same process says on two clocks tells how far they are apart;
// zone, if it is set, is the user's word for it.
func learn(inputs []*input, zone *time.Location, now time.Time) {
	zoned := map[string][]time.Time{}
	var dated time.Time
	var usual time.Duration // offset of the inputs that say theirs
	for _, in := range inputs {
		for _, s := range in.seen {
			if s.noZone || s.noDate || s.tai {
				continue
			}
			_, east := s.Time.Zone()
			usual = time.Duration(east) * time.Second
			if !s.noYear && s.Time.After(dated) {
				dated = s.Time
			}
			for _, key := range s.keys() {
				if len(zoned[key]) < 8 {
					zoned[key] = append(zoned[key], s.Time)
				}
			}
		}
	}
	for _, in := range inputs {
		c := &in.clock
		c.dateless = slices.ContainsFunc(in.seen, func(s sight) bool { return s.noDate })
		c.latest = now.Add(48 * time.Hour)
		if !dated.IsZero() {
			c.latest = dated.AddDate(0, 6, 0)
		}
		c.day = time.Date(dated.Year(), dated.Month(), dated.Day(), 0, 0, 0, 0, time.UTC)
		c.learn(in, zoned, zone, usual)
	}
	for _, in := range inputs {
		if slices.ContainsFunc(in.seen, func(s sight) bool { return s.boot }) {
			in.clock.booted(in, inputs)
		}
	}
}

// booted finds out when the machine booted, by the processes whose end the kernel
// tells, and an input with dates too. Without any input that has dates, times count from midnight.
func (c *clock) booted(in *input, inputs []*input) {
	dates := false
	for _, other := range inputs {
		for _, o := range other.seen {
			if o.boot || o.noDate || o.tai {
				continue
			}
			if dates = true; o.kind != kindExit {
				continue
			}
			for _, s := range in.seen {
				if !s.boot || s.child <= 1 || s.child != o.child {
					continue
				}
				if at := other.clock.resolve(o.stamp).Add(-s.Sub(time.Unix(0, 0))); c.boot.IsZero() || at.Before(c.boot) {
					c.boot = at
				}
			}
		}
	}
	switch {
	case !dates:
		c.boot = time.Unix(0, 0).UTC()
	case c.boot.IsZero():
		c.guess = in.Name + " counts from the boot, and no line says when that was. Take journalctl -k or dmesg -T."
	}
}

func (s sight) keys() (keys []string) {
	if len(s.msg) >= weighty {
		keys = append(keys, s.msg)
	}
	if s.pid > 1 {
		keys = append(keys, pidKey("", s.pid))
	}
	return keys
}

// learn counts what speaks for each offset.
func (c *clock) learn(in *input, zoned map[string][]time.Time, zone *time.Location, usual time.Duration) {
	votes := map[time.Duration]int{}
	leaps, none, floating, day := 0, 0, time.Time{}, c.day
	for _, s := range in.seen {
		if !s.noZone && !s.tai || s.boot {
			continue
		}
		if floating = s.Time; s.noDate || s.noYear {
			floating = c.resolve(stamp{Time: s.Time, noDate: s.noDate, noYear: s.noYear})
		}
		for _, key := range s.keys() {
			for _, t := range zoned[key] {
				apart := floating.Sub(t)
				if near := apart.Round(quarter); !s.tai && near.Abs() <= 14*time.Hour && (apart-near).Abs() <= tolerate {
					votes[near] += min(len(key), 100)
				}
				switch {
				case s.tai && (apart-leapTAI).Abs() < tolerate/2:
					leaps++
				case s.tai && apart.Abs() < tolerate/2:
					none++
				}
			}
		}
	}
	for _, ahead := range in.ahead {
		switch {
		case (ahead - leapTAI).Abs() < tolerate/2:
			leaps++
		case ahead.Abs() < tolerate/2:
			none++
		}
	}
	for _, apart := range in.nested {
		if apart.Abs() > 14*time.Hour {
			continue
		}
		votes[apart.Round(quarter)] += 1000
	}
	best, most := time.Duration(0), 0
	for offset, n := range votes {
		if n > most || n == most && offset < best {
			best, most = offset, n
		}
	}
	if leaps > none {
		c.leap = leapTAI
	}
	c.day, c.last = day, time.Time{} // the lines are read again
	switch {
	case zone != nil:
		_, east := floating.In(zone).Zone()
		c.offset = time.Duration(east) * time.Second
	case most > 0:
		c.offset = best
	case floating.IsZero() || !slices.ContainsFunc(in.seen, func(s sight) bool { return s.noZone && !s.boot }):
	default:
		c.offset = usual
		if len(zoned) > 0 {
			c.guess = fmt.Sprintf("%s writes times without a zone; they are taken as UTC%s. Set -zone if that is wrong.", in.Name, strings.TrimSuffix(time.Time{}.In(time.FixedZone("", int(usual/time.Second))).Format("-07:00"), "+00:00"))
		}
	}
}
