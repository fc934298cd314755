package timeline

import (
	"fmt"
	"slices"
	"strings"
)

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

// often says how many cuts there were, if that is not the number of sessions.
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
