package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// A tally sums up the lines of a world.
type tally struct {
	failed     []string       // sessions whose answer did not arrive; in the schedule no user leaves before
	cut        int            // answers that began and did not end, and sessions before their CLI said goodbye
	cuts       map[string]int // of them answers, by session
	restarts   int            // gateways started after the first
	streams    int            // opened and not closed
	tasks      int            // begun and not ended
	unanswered time.Duration  // in which the user waited for an answer
	longest    time.Duration  // wait of one session that got its answer
	slowest    time.Duration  // restart job, from the order until the gateway was ready
	bad        []string       // processes that were asked to stop and did not exit with 0
	deaths     int            // of the gateway, unasked, by a signal; bad has them too
	named      []string       // sessions that it suspected
	namedAt    int            // deaths before it named the first one; 0 if it named none
}

// tallied returns the tally of lines, which include the exit statuses.
func tallied(lines []line) tally {
	t := tally{cuts: map[string]int{}, restarts: -1}
	var (
		left     = map[string]bool{}      // sessions whose CLI said goodbye, so far
		over     = map[[3]string]bool{}   // responses that are counted, or ended well
		typed    = map[string]time.Time{} // sessions that wait for an answer
		waiting  time.Time
		restart  time.Time
		sessions []string
	)
	for _, l := range lines {
		response := [3]string{l.Session, l.Kind, l.Attempt}
		switch l.Msg {
		case "typed":
			if _, again := typed[l.Session]; !again {
				typed[l.Session] = l.Time
				sessions = append(sessions, l.Session)
			}
			if waiting.IsZero() {
				waiting = l.Time
			}
		case "answered":
			over[response] = true
			if began, ok := typed[l.Session]; ok {
				t.longest = max(t.longest, l.Time.Sub(began))
				delete(typed, l.Session)
			}
			if !waiting.IsZero() {
				t.unanswered += l.Time.Sub(waiting)
				waiting = time.Time{}
			}
		case "goodbye", "response ended":
			over[response] = true
		case "cut", "client gone": // the two ends of a response; either may be dead
			if over[response] || l.Kind == "session" && left[l.Session] {
				break
			}
			over[response] = true
			t.cut++
			if l.Kind == "answer" {
				t.cuts[l.Session]++
			}
		case "leaving":
			left[l.Session] = true
		case "stream opened":
			t.streams++
		case "stream closed":
			t.streams--
		case "task began":
			t.tasks++
		case "task ended":
			t.tasks--
		case "started gateway":
			t.restarts++
		case "restart job":
			restart = l.Time
		case "gateway ready":
			if !restart.IsZero() {
				t.slowest = max(t.slowest, l.Time.Sub(restart))
				restart = time.Time{}
			}
		case "session suspected":
			if len(t.named) == 0 {
				t.namedAt = t.deaths
			}
			t.named = append(t.named, l.Session)
		case "exited":
			if l.died() {
				t.deaths++
			}
			if l.Status != 0 {
				who := strings.TrimSpace(l.Of + " " + l.Session)
				t.bad = append(t.bad, fmt.Sprintf("%s: exit status %d %s", who, l.Status, l.Signal))
			}
		}
	}
	for _, s := range sessions {
		if _, waits := typed[s]; waits {
			t.failed = append(t.failed, s)
		}
	}
	return t
}

func (t tally) mostCuts() (most int) {
	for _, n := range t.cuts {
		most = max(most, n)
	}
	return most
}

// died reports whether l is about a gateway that a signal ended, unasked.
func (l line) died() bool {
	return l.Msg == "exited" && l.Of == gateway && l.Who == "supervisor" && !l.Asked && l.Signal != ""
}

// A table prints both worlds side by side.
type table struct {
	*tabwriter.Writer
	good bool // each row shows what it must
}

func newTable(out io.Writer) *table {
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight), true}
	fmt.Fprintf(t, "%-36s\tbefore\tmust be\tafter\tmust be\t\t\n", "")
	return t
}

func (t *table) row(what, b, bMust, a, aMust string, ok bool) {
	verdict := "ok"
	if !ok {
		verdict, t.good = "NO", false
	}
	fmt.Fprintf(t, "%-36s\t%s\t%s\t%s\t%s\t%s\t\n", what, b, bMust, a, aMust, verdict)
}

// number is a row of what must not happen after.
func (t *table) number(what string, b, a, least int) {
	t.row(what, fmt.Sprint(b), fmt.Sprintf("%d or more", least), fmt.Sprint(a), "0", b >= least && a == 0)
}

// seconds returns a time of the incident's own.
func (r role) seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()*r.Scale) }

// compare prints both worlds side by side, and reports whether each shows what
// it must.
func compare(out io.Writer, r role, before, after tally) bool {
	w := newTable(out)
	w.number("failed sessions", len(before.failed), len(after.failed), 2)
	w.number("cut streams", before.cut, after.cut, 2)
	w.number("most cuts of one session", before.mostCuts(), after.mostCuts(), 2)
	w.row("gateway restarts", fmt.Sprint(before.restarts), "2 or more", fmt.Sprint(after.restarts), "as many", before.restarts >= 2 && after.restarts == before.restarts)
	w.number("streams not closed", before.streams, after.streams, streams)
	w.number("tasks that did not end", before.tasks, after.tasks, tasks)
	w.row("processes that ended badly", fmt.Sprint(len(before.bad)), "", fmt.Sprint(len(after.bad)), "0", len(after.bad) == 0)
	w.row("user without an answer", r.seconds(before.unanswered), "", r.seconds(after.unanswered), "", true)
	bound := r.scaled(longestAnswer) + min(after.slowest, r.scaled(drainBudget)) // the longest answer plus one restart
	w.row("longest wait for one answer", r.seconds(before.longest), "", r.seconds(after.longest), "up to "+r.seconds(bound), after.longest <= bound)
	w.Flush()
	for _, t := range []struct {
		world string
		tally
	}{{"before", before}, {"after", after}} {
		for _, s := range t.failed {
			fmt.Fprintf(out, "%s: session %s failed, its answer cut %d times\n", t.world, s, t.cuts[s])
		}
		for _, b := range t.bad {
			fmt.Fprintf(out, "%s: %s\n", t.world, b)
		}
	}
	return w.good
}
