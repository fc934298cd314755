package restart

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Table returns [Ledger.Runs] as a table for people. A line says when the run began,
// its level, how long it waited, its process id, how long it lasted, how it ended, and
// how many sessions it cut, or had in flight when it died. "Again" are those that the
// run before cut or had in flight too. A run whose end is open is still running, or
// has died.
func (l *Ledger) Table() (string, error) {
	runs, err := l.Runs()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BEGAN\tLEVEL\tWAITED\tPID\tLASTED\tEND\tCUT")
	for _, r := range runs {
		level, waited, lasted := "?", "?", ""
		if r.Level >= 0 {
			level, waited = fmt.Sprint(r.Level), short(r.Waited)
		}
		if r.Cause != Open {
			lasted = short(r.Lasted)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", r.Began.Format("2006-01-02T15:04:05.000Z"), level, waited, r.PID, lasted, r.Cause, r.cut())
	}
	t.Flush()
	return b.String(), nil
}

// cut is the last column.
func (r Run) cut() (s string) {
	switch {
	case r.InFlight > 0:
		s = fmt.Sprintf("%d in flight", r.InFlight)
	case r.Cause != Open:
		s = fmt.Sprint(r.Cut)
	}
	if r.Again > 0 {
		s += fmt.Sprintf(", %d again", r.Again)
	}
	return s
}

func short(d time.Duration) string { return d.Round(time.Millisecond).String() }
