package timeline

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText writes the chains as tables: those that cost something whole, of the
// others a line each. An event's cause is given by its number.
func (t *Timeline) WriteText(w io.Writer) error {
	var b strings.Builder
	v := t.view()
	fmt.Fprintln(&b, v.Summary)
	for _, c := range v.Costly {
		fmt.Fprintf(&b, "\nChain %d. %s\n%s\n\n", c.Number, c.Title, c.Cost)
		tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "  \tTime\tProcess\tEvent\tBecause of")
		for _, e := range c.Rows {
			fmt.Fprintf(tw, "  %d\t%s\t%s\t%s\t%s\n", e.Number, e.Clock, e.Process.Label(), e.What, e.Because)
		}
		tw.Flush()
	}
	if len(v.Notes) > 0 {
		fmt.Fprintf(&b, "\n%s\n", strings.Join(v.Notes, "\n"))
	}
	if len(v.Quiet) > 0 {
		fmt.Fprint(&b, "\nWhat cost nothing\n\n")
		tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, c := range v.Quiet {
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", c.Clock, c.Title, c.Cost)
		}
		tw.Flush()
	}
	if len(t.chains) == 0 {
		t.nothing(&b)
	}
	if t.unread > 0 {
		fmt.Fprintf(&b, "\n%s could not be read\n", plural(t.unread, "line"))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	return nil
}

// nothing says what was read if no line told of a stop, and what to do about it.
func (t *Timeline) nothing(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s read, none about a stop.\n", plural(t.lines, "line"))
	names := slices.SortedFunc(maps.Keys(t.formats), func(a, b string) int { return cmp.Or(t.formats[b]-t.formats[a], cmp.Compare(a, b)) })
	if len(names) > 0 {
		fmt.Fprint(b, "Of the first lines")
		for i, name := range names {
			if i > 0 {
				fmt.Fprint(b, ",")
			}
			if name == "none" {
				fmt.Fprintf(b, " %d of no known format", t.formats[name])
				continue
			}
			fmt.Fprintf(b, " %d are %s", t.formats[name], name)
		}
		fmt.Fprintln(b, ".")
	}
	if len(t.samples) > 0 {
		fmt.Fprint(b, "These looked promising, but no rule knows what they mean:\n\n")
		for _, s := range t.samples {
			fmt.Fprintf(b, "  %s\n", s)
		}
	}
	fmt.Fprint(b, "\nIf a line tells of a stop, a crash or a start, teach it with -rules and a file such as\n\n"+
		`  {"rules": [{"name": "my program stops", "has": "going down", "match": "^going down: (?P<why>.*)", "kind": "stop",`+"\n"+
		`              "example": "2026-05-20T22:55:01Z going down: deploy"}]}`+"\n")
}

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

// harm says what a chain did to sessions and programs, the failure before the cuts.
func (v *view) harm(c *chain) string {
	var parts []string
	for _, e := range c.Events {
		if e.bad() && e.Kind != kindCut {
			text := strings.TrimPrefix(e.Text, e.Process.Name)
			if strings.Contains(e.Text, e.Process.Name) {
				text = ": " + e.Text
			}
			first := e.Process.Label() + ": " + strings.TrimPrefix(text, ": ")
			if strings.HasPrefix(strings.ToLower(e.Text), strings.ToLower(e.Process.Name)) {
				first = e.Text
			}
			parts = append(parts, short(first, 90))
			break
		}
	}
	for _, e := range c.Events {
		if _, left, ok := strings.Cut(e.Text, "left open: "); ok && !strings.Contains(strings.Join(parts, ""), left) {
			parts = append(parts, "left open "+left)
			break
		}
	}
	if c.Failures > 1 {
		parts = append(parts, plural(c.Failures, "failed process")+" in all")
	}
	if c.Cuts > 0 {
		parts = append(parts, plural(len(c.Sessions), "session")+" cut"+often(c.Cuts, len(c.Sessions))+", "+human(c.Unanswered)+" without an answer")
	}
	if c.Lost > 0 {
		who := ""
		if i := slices.IndexFunc(c.Events, func(e *event) bool { return e.Kind == kindCut }); len(parts) == 0 && i >= 0 {
			who = c.Events[i].Process.Label() + ": "
		}
		parts = append(parts, who+plural(c.Lost, "connection")+" lost")
	}
	return strings.Join(parts, "; ")
}

// began says what began a chain, and whether the logs say why.
func (v *view) began(c *chain) string {
	root := c.Events[0]
	s := fmt.Sprintf("%s: began with %s: %s.", v.clock(root.Time), root.Process.Label(), short(root.Text, 90))
	if !c.explained() {
		s += " No line says why."
	}
	return s
}

// headline is the harm of all chains in a line.
func (v *view) headline(sessions, cuts, failures, lost int) string {
	var parts []string
	for _, c := range v.Costly {
		for _, e := range c.Events {
			if e.bad() && e.Kind != kindCut && len(parts) == 0 {
				verb := " failed"
				switch {
				case strings.Contains(e.Text, "crash"), strings.Contains(e.Text, "panic"):
					verb = " crashed"
				case e.signal == "SIGKILL":
					verb = " was killed"
				}
				parts = append(parts, e.Process.Label()+verb)
			}
		}
	}
	if failures > 1 && len(parts) > 0 {
		parts[0] += fmt.Sprintf(", %d failures in all", failures)
	}
	if cuts > 0 {
		parts = append(parts, plural(sessions, "session")+" cut"+often(cuts, sessions))
	}
	if lost > 0 {
		parts = append(parts, plural(lost, "connection")+" lost")
	}
	s := strings.Join(parts, "; ")
	if len(v.Costly) > 1 {
		s += fmt.Sprintf(", in %d independent chains", len(v.Costly))
	}
	return s
}

// cost says what a chain cost, and how long it took.
func (v *view) cost(c *chain) string {
	took := c.Until.Sub(c.Events[0].Time)
	if !c.costly() {
		var path []string
		for _, e := range c.Events[1:] {
			if kind := string(e.Kind); !slices.Contains(path, kind) {
				path = append(path, kind)
			}
		}
		return fmt.Sprintf("%s in %s%s", plural(len(c.Events), "event"), human(took), say("", ": %s", strings.Join(path, " → ")))
	}
	s := "no clock"
	if !c.Until.IsZero() {
		s = fmt.Sprintf("%s to %s, %s", v.clock(c.Events[0].Time), v.clock(c.Until), human(took))
	}
	var lost []string
	if c.Failures > 0 {
		lost = append(lost, plural(c.Failures, "failed process"))
	}
	if c.Cuts > 0 {
		lost = append(lost, plural(len(c.Sessions), "session")+" cut"+often(c.Cuts, len(c.Sessions)), human(c.Unanswered)+" without an answer")
	}
	if c.Lost > 0 {
		lost = append(lost, plural(c.Lost, "connection")+" lost")
	}
	if c.Open {
		lost = append(lost, "still so at the end")
	}
	return s + ": " + strings.Join(lost, "; ")
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

// often says how many cuts there were, where that is not the number of sessions.
func often(cuts, sessions int) string {
	if cuts == sessions {
		return ""
	}
	return ", " + plural(cuts, "time")
}

func plural(n int, what string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(what, "s"):
		what += "es"
	default:
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
