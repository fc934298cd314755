//go:build unix

package judges

import (
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A cell counts the results of a service's requests.
type cell struct {
	get, post, kept, fresh counts
	long                   counts // those that were in flight at a stop
	stops                  []time.Duration
	why                    map[string]int
}

type counts struct {
	sent, failed int
	by           map[kind]int
}

func (c *counts) note(failed kind) {
	c.sent++
	if failed == "" {
		return
	}
	c.failed++
	if c.by == nil {
		c.by = make(map[kind]int)
	}
	c.by[failed]++
}

func (c *counts) String() string { return fmt.Sprintf("%d / %d", c.failed, c.sent) }

func (c *cell) note(method string, a answer) {
	how, where, name := &c.get, &c.fresh, "new"
	if method == http.MethodPost {
		how = &c.post
	}
	if a.reused {
		where, name = &c.kept, "kept"
	}
	how.note(a.failed)
	where.note(a.failed)
	if a.failed != "" {
		c.why[method+", "+name+": "+a.why]++
	}
}

func (c *cell) sent() int        { return c.get.sent + c.post.sent }
func (c *cell) failed() int      { return c.get.failed + c.post.failed }
func (c *cell) count(k kind) int { return c.get.by[k] + c.post.by[k] }
func (c *cell) stop() (median, longest time.Duration) {
	s := slices.Sorted(slices.Values(c.stops))
	return s[len(s)/2], s[len(s)-1]
}

// A table is the one of docs/balancers.md.
type table struct {
	text, why strings.Builder
}

func newTable() *table {
	t := new(table)
	t.text.WriteString("| balancer | service | failed / sent | 503 | reset | refused | other | GET | POST | kept connections | new connections | requests of 5 s lost | a stop took (longest) |\n")
	t.text.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	return t
}

func (t *table) add(balancer, service string, c *cell) {
	median, longest := c.stop()
	fmt.Fprintf(&t.text, "| %s | %s | %d / %d | %d | %d | %d | %d | %v | %v | %v | %v | %v | %.1f s (%.1f s) |\n",
		balancer, service, c.failed(), c.sent(), c.count(turned), c.count(reset), c.count(refused), c.count(other),
		&c.get, &c.post, &c.kept, &c.fresh, &c.long, median.Seconds(), longest.Seconds())
	for _, why := range slices.Sorted(func(yield func(string) bool) {
		for why, n := range c.why {
			if !yield(fmt.Sprintf("%6d %s", n, why)) {
				return
			}
		}
	}) {
		fmt.Fprintf(&t.why, "%s, %s: %s\n", balancer, service, why)
	}
}

func (t *table) print() {
	fmt.Printf("\nMeasured on %s with %s, %s, %s; %d restarts a row.\n\n%s\n%s\n", time.Now().Format(time.DateOnly),
		version("nginx", "-v"), version("haproxy", "-v"), runtime.Version(), 2**rolls, &t.text, &t.why)
}

var number = regexp.MustCompile(`\d+\.\d+\.\d+`)

func version(program, arg string) string {
	path, err := find(program)
	if err != nil {
		return "no " + program
	}
	b, _ := exec.Command(path, arg).CombinedOutput()
	return program + " " + number.FindString(string(b))
}
