package restart

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Table returns the runs in the ledger as a table for people, oldest first. A line
// says when the run began, its level, how long it waited, its process id, how long it
// lasted, how it ended, and how many sessions it cut, with "again" those that the run
// before cut too. A run whose end is open is still running, or has died.
//
// Table only reads the file. It may be called while other processes use the ledger.
func (l *Ledger) Table() (string, error) {
	f, err := machine().look(l.Path)
	if err != nil {
		return "", fmt.Errorf("restart: Ledger: %w", err)
	}
	defer f.Close()
	h, _, err := read(f)
	if err != nil {
		return "", fmt.Errorf("restart: Ledger: %s: %w", l.Path, err)
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BEGAN\tLEVEL\tWAITED\tPID\tLASTED\tEND\tCUT")
	var before prints
	for start, end := range h.runs {
		began, level, waited := end.wall-int64(end.took), "?", "?" // if its start was overwritten
		if start.seq != 0 {
			began, level, waited = start.wall, fmt.Sprint(start.level), short(start.took)
		}
		lasted, cut := "", ""
		if end.seq != 0 {
			lasted, cut = short(end.took), fmt.Sprint(end.cuts)
		}
		if n := len(both(before[:], end.cut)); n > 0 {
			cut += fmt.Sprintf(", %d again", n)
		}
		before = end.cut
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%v\t%s\n", time.Unix(0, began).UTC().Format("2006-01-02T15:04:05.000Z"),
			level, waited, max(start.pid, end.pid), lasted, end.cause, cut)
	}
	t.Flush()
	return b.String(), nil
}

func short(d time.Duration) string { return d.Round(time.Millisecond).String() }
