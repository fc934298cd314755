package stoptest

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// A Result is what all lives of a Check showed.
type Result struct {
	Lives     int         `json:"lives"`
	Judgments []Judgment  `json:"promises"` // one for each promise, in the order of Promises
	Loads     []LoadCount `json:"loads"`
	Findings  []Finding   `json:"findings"`
}

// A Judgment is the verdict on a promise, and how often it was seen: calls for the first
// three promises, lives for the others.
type Judgment struct {
	Promise  Promise `json:"promise"`
	Verdict  Verdict `json:"verdict"`
	Yes      int     `json:"yes"`
	No       int     `json:"no"`
	Unproven int     `json:"unproven"`
}

// A LoadCount says how the calls of a load ended that were in flight at the first signal or
// began later, in lives that ended in an orderly stop.
type LoadCount struct {
	Name     string `json:"name"`
	Answered int    `json:"answered"`
	Refused  int    `json:"refused"`
	Lost     int    `json:"lost"`
	Unproven int    `json:"unproven"`
}

// A Finding is a broken promise in one life.
type Finding struct {
	Promise  Promise  `json:"promise"`
	Saw      string   `json:"saw"`      // what was seen, in a sentence
	Seed     uint64   `json:"seed"`     // a Program with this Seed and one life repeats it
	Moment   string   `json:"moment"`   // such as "SIGTERM in the middle of UPLOAD /files"
	Last     []string `json:"last"`     // the last lines that the program wrote
	Timeline string   `json:"timeline"` // what led to what, as a table

	logs []output // for WriteHTML
}

// Of returns the judgment on a promise.
func (r Result) Of(p Promise) Judgment {
	for _, j := range r.Judgments {
		if j.Promise == p {
			return j
		}
	}
	return Judgment{Promise: p, Verdict: NotTried}
}

// Broken returns the promises that are broken, in the order of Promises.
func (r Result) Broken() (broken []Promise) {
	for _, j := range r.Judgments {
		if j.Verdict == No {
			broken = append(broken, j.Promise)
		}
	}
	return broken
}

// String returns the finding for people.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: no\n  %s\n  moment: %s; seed %d with one life repeats it\n", f.Promise, f.Saw, f.Moment, f.Seed)
	block := func(title, text string) {
		if text = strings.TrimSpace(text); text != "" {
			fmt.Fprintf(&b, "  %s:\n    %s\n", title, strings.ReplaceAll(text, "\n", "\n    "))
		}
	}
	block("last lines", strings.Join(f.Last, "\n"))
	block("timeline", f.Timeline)
	return b.String()
}

// WriteText writes the findings, and the tables of promises and of loads.
func (r Result) WriteText(w io.Writer) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return err
		}
	}
	return r.writeTables(w)
}

func (r Result) writeTables(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "PROMISE (%d lives)\tVERDICT\tYES\tNO\tUNPROVEN\n", r.Lives)
	for _, j := range r.Judgments {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\n", j.Promise, j.Verdict, j.Yes, j.No, j.Unproven)
	}
	if len(r.Loads) > 0 {
		fmt.Fprint(t, "\nLOAD\tANSWERED\tREFUSED\tLOST\tUNPROVEN\n")
	}
	for _, l := range r.Loads {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\n", l.Name, l.Answered, l.Refused, l.Lost, l.Unproven)
	}
	return t.Flush()
}

// WriteHTML writes the timelines of all findings as one page, which needs no other file.
func (r Result) WriteHTML(w io.Writer) error {
	var all []output
	lives := map[string]bool{}
	for _, f := range r.Findings {
		if life := fmt.Sprint(f.Seed, f.Moment); !lives[life] {
			lives[life] = true
			all = append(all, f.logs...)
		}
	}
	return read(all).WriteHTML(w)
}
