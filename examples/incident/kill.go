package main

import (
	"fmt"
	"io"
	"slices"
)

// This file is the judge of -kill.

// manyDeaths is how often the gateway dies before, until the replay stops watching. The
// loop would go on.
const manyDeaths = 5

// deaths returns how often a signal ended the gateway, unasked.
func deaths(ls []line) (n int) {
	for _, l := range ls {
		if l.died() {
			n++
		}
	}
	return n
}

// compareKills prints both worlds side by side, and reports whether each shows what it
// must: after, the second death names the session, and there is no third.
func compareKills(out io.Writer, r role, before, after tally) bool {
	w := newTable(out)
	w.row("gateway killed", fmt.Sprint(before.deaths), fmt.Sprintf("%d or more", manyDeaths), fmt.Sprint(after.deaths), "2", before.deaths >= manyDeaths && after.deaths == 2)
	w.row("deaths until the session was named", never(before.namedAt), "never", never(after.namedAt), "2", before.namedAt == 0 && after.namedAt == 2)
	w.row("sessions named", fmt.Sprint(before.named), "", fmt.Sprint(after.named), fmt.Sprint([]string{r.Poison}), slices.Equal(after.named, []string{r.Poison}))
	w.number("failed sessions", len(before.failed), len(after.failed), 1)
	b, a := len(before.bad)-before.deaths, len(after.bad)-after.deaths
	w.row("others that ended badly", fmt.Sprint(b), "", fmt.Sprint(a), "0", a == 0)
	w.Flush()
	return w.good
}

func never(n int) string {
	if n == 0 {
		return "never"
	}
	return fmt.Sprint(n)
}
