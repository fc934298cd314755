package timeline

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
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
