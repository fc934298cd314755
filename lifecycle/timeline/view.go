package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A view is a timeline in words, the same for the text and for the page.
type view struct {
	*Timeline
	Headline, Span, Summary string
	Costly, Quiet           []*chainView
	Notes                   []string               // what chains have to do with each other
	clock                   func(time.Time) string // how times are written
	number                  map[*event]int
}

type chainView struct {
	*chain
	Number             int
	Color              int // 0 for what cost nothing
	Title, Cost, Clock string
	Harm, Began        string // what was lost, and what began it
	Rows               []*row
	met                []string // sessions
}

type row struct {
	*event
	Number   int
	Clock    string
	What     string
	Because  string
	RuleText string
	From     int   // the cause's number; 0 for a root
	Bad      bool  // it is what did harm
	Inferred bool  // only time ties it to its cause
	Also     []int // further causes
}

func (t *Timeline) view() *view {
	numbers := map[*event]int{}
	v := &view{Timeline: t, clock: t.clock(), number: numbers}
	sessions := map[string]bool{}
	cuts, failures, lost := 0, 0, 0
	quiet := slices.DeleteFunc(slices.Clone(t.chains), (*chain).costly)
	chains := append(slices.DeleteFunc(slices.Clone(t.chains), func(c *chain) bool { return !c.costly() }), quiet...)
	for _, c := range chains {
		for _, e := range c.Events {
			numbers[e] = len(numbers) + 1
		}
	}
	for i, c := range chains {
		root := c.Events[0]
		cv := &chainView{chain: c, Number: i + 1, Title: root.Process.Label() + ": " + root.Text, Cost: v.cost(c), Clock: v.clock(root.Time)}
		for _, e := range c.Events {
			cv.Rows = append(cv.Rows, v.row(e, numbers[e], numbers[e.cause()]))
			if s := cmp.Or(e.Session, e.Process.Session); s != "" && !slices.Contains(cv.met, s) {
				cv.met = append(cv.met, s)
			}
		}
		slices.Sort(cv.met)
		cv.Harm, cv.Began = v.harm(c), v.began(c)
		for _, s := range c.Sessions {
			sessions[s] = true
		}
		cuts, failures, lost = cuts+c.Cuts, failures+c.Failures, lost+c.Lost
		if c.costly() {
			cv.Color = i%colors + 1
			v.Costly = append(v.Costly, cv)
		} else {
			v.Quiet = append(v.Quiet, cv)
		}
	}
	v.Summary = fmt.Sprintf("%s, %s: %s that cost something, %d that cost nothing; %s cut%s",
		plural(t.lines, "line"), plural(len(numbers), "event"), plural(len(v.Costly), "chain"), len(v.Quiet),
		plural(len(sessions), "session"), often(cuts, len(sessions)))
	switch {
	case len(chains) == 0:
		v.Headline = plural(t.lines, "line") + " read, none about a stop"
	case len(v.Costly) == 0:
		v.Headline = plural(len(chains), "stop") + ", and nothing was lost"
	default:
		v.Headline = v.headline(len(sessions), cuts, failures, lost)
	}
	if len(chains) > 0 {
		first := t.chains[0].Events[0].Time
		v.Span = fmt.Sprintf("%s, %s to %s", first.Format("2 January 2006"), v.clock(first), v.clock(t.until))
	}
	if t.forgotten > 0 {
		v.Notes = append(v.Notes, plural(t.forgotten, "further event")+" left out.")
	}
	v.Notes = append(v.Notes, t.guesses...)
	v.Notes = append(v.Notes, v.relations()...)
	return v
}

func (v *view) row(e *event, number, from int) *row {
	r := &row{event: e, Number: number, Clock: v.clock(e.Time), What: e.Text, Because: "root", From: from, Bad: e.bad(), Inferred: from > 0 && !e.Causes[0].Evidence}
	if e.Times > 1 {
		r.What += fmt.Sprintf(" (%d times)", e.Times)
	}
	if e.Session != e.Process.Session && !strings.Contains(e.Text, e.Session) {
		r.What += ", session " + e.Session
	}
	switch {
	case from > 0:
		r.RuleText = e.Causes[0].Rule
		if r.Inferred {
			r.RuleText = "by time alone: " + r.RuleText
		}
		for _, l := range e.Causes[1:] {
			if n := v.number[l.event]; n > 0 {
				r.Also = append(r.Also, n)
				r.RuleText += fmt.Sprintf("; and %d: %s", n, l.Rule)
			}
		}
		r.Because = fmt.Sprintf("%d: %s", from, r.RuleText)
	case len(e.Causes) == 0 && !e.chain.explained():
		r.Because = "no line says why"
	case e.cause() != nil:
		r.Because = "left out: " + e.Causes[0].Rule
	}
	return r
}

// cause returns the first cause.
func (e *event) cause() *event {
	if len(e.Causes) == 0 {
		return nil
	}
	return e.Causes[0].event
}

// bad events did harm. The page draws them solid.
func (e *event) bad() bool {
	if e.Kind == kindExit && e.rule != "" {
		return e.harm
	}
	return e.Kind == kindCut || e.Kind == kindFailure || e.Kind == kindExit && (strings.Contains(e.Text, "killed by") || !strings.HasSuffix(e.Text, "status 0"))
}

// relations says which chains are independent although they overlap, and where
// they meet; at most 20 times.
func (v *view) relations() (notes []string) {
	for i, a := range v.Costly {
		for _, b := range v.Costly[i+1:] {
			from, until := b.Events[0].Time, a.Until
			if b.Until.Before(until) {
				until = b.Until
			}
			where := ""
			if both := slices.DeleteFunc(slices.Clone(a.met), func(s string) bool { return !slices.Contains(b.met, s) }); len(both) > 0 {
				where = short(" They meet in session "+strings.Join(both, ", "), longest) + "."
			}
			switch {
			case until.After(from):
				notes = append(notes, fmt.Sprintf("Chains %d and %d overlap from %s to %s, and no rule links them: they are independent.%s",
					a.Number, b.Number, v.clock(from), v.clock(until), where))
			case where != "":
				notes = append(notes, fmt.Sprintf("Chains %d and %d are independent: no rule links them, and %s lie between.%s",
					a.Number, b.Number, human(from.Sub(a.Until)), where))
			}
			if len(notes) == 20 {
				return append(notes, "There may be more such pairs.")
			}
		}
	}
	return notes
}

// clock returns how times are written: all alike, no longer than needed, and in
// the zone of the first.
func (t *Timeline) clock() func(time.Time) string {
	format, zone, first := time.TimeOnly, time.UTC, time.Time{}
	for _, c := range t.chains {
		if slices.ContainsFunc(c.Events, func(e *event) bool { return e.Time.Nanosecond() != 0 }) {
			format = "15:04:05.000"
		}
		if first.IsZero() {
			first = c.Events[0].Time
			zone = first.Location()
		}
	}
	if !first.IsZero() && first.YearDay() != t.until.In(zone).YearDay() {
		format = "01-02 " + format
	}
	return func(t time.Time) string {
		if t.IsZero() {
			return "no clock"
		}
		return t.In(zone).Format(format)
	}
}
