package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

const intro = `# How real servers stop

What a client loses when a server is stopped while it works, as [stoptest](../lifecycle/stoptest) sees it. Each program was started
and stopped once at each moment: in the middle of each kind of request, under load, while idle, during its start; by each signal that
its documentation names for a graceful stop, twice, three times, and by SIGKILL. A request is lost only if the program had begun it:
a byte of a response or 100 Continue was seen, and no complete response followed.

A census is no ranking. Programs promise different things, and some leave a choice to the operator, with a setting for it. Each was
run as its section says, in one version, with few settings, on one busy machine. Another configuration may give another table. Only
what the documentation says is a promise. If other behaviour differs from the ideal, the table says *not promised*.

    go run ./internal/census >docs/census.md

That takes about %d minutes here. The programs, their configuration and the loads are the table in
[internal/census](../internal/census/programs.go). If one is not installed, the page says so.

## Results

Seen on %s with %s, %s/%s, %d CPUs. From the first signal each had %v.

- *yes*: kept in each life that could show it
- *no*: its documentation promises it, and it was broken
- *not promised*: it was not kept, and the documentation that the section names does not promise it
- *unproven*: nothing could be seen from outside · –: not tried

`

// page writes what was seen as Markdown.
func page(w io.Writer, reports []*report, took time.Duration, now time.Time) {
	fmt.Fprintf(w, intro, max(1, int(took.Round(time.Minute).Minutes())), now.Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), budget)
	seen := slices.DeleteFunc(slices.Clone(reports), func(r *report) bool { return r.result.Lives == 0 })
	fmt.Fprint(w, "| |")
	for _, p := range stoptest.Promises() {
		fmt.Fprintf(w, " %s |", p)
	}
	fmt.Fprint(w, "\n|", strings.Repeat(" --- |", len(stoptest.Promises())+1), "\n")
	for _, r := range seen {
		fmt.Fprintf(w, "| %s |", r.name)
		for _, p := range stoptest.Promises() {
			fmt.Fprintf(w, " %s |", r.verdict(p))
		}
		fmt.Fprintln(w)
	}
	for _, r := range seen {
		r.section(w)
	}
	for _, r := range reports {
		if r.result.Lives == 0 {
			fmt.Fprintf(w, "\n## %s\n\nNot run: %s.\n", r.name, firstLine(r.err.Error()))
		}
	}
}

func (r *report) verdict(p stoptest.Promise) string {
	switch v := r.result.Of(p).Verdict; {
	case v == stoptest.No && !slices.Contains(r.promises, p):
		return string(stoptest.NotPromised)
	case v == stoptest.NotTried:
		return "–"
	case v == stoptest.No:
		return "**no**"
	default:
		return string(v)
	}
}

// section says how a program was run, and what was seen.
func (r *report) section(w io.Writer) {
	fmt.Fprintf(w, "\n## %s\n\n", r.name)
	if r.version != "" {
		fmt.Fprintf(w, "`%s`, from %s. ", r.version, r.from)
	}
	args := slices.Clone(r.args)
	if r.build != "" {
		args[0] = "go -C " + r.build + " run ."
	}
	fmt.Fprintf(w, "Command: `%s`\n\n", strings.Join(args, " "))
	if r.source == "" {
		fmt.Fprint(w, "No documentation of a graceful stop was found. It got SIGTERM and SIGINT.\n")
	} else {
		fmt.Fprintf(w, "Documented: %s ([source](%s)).\n", r.says, r.source)
	}
	if r.unset != "" {
		fmt.Fprintf(w, "Not set here: %s.\n", r.unset)
	}
	fmt.Fprintf(w, "\n| in %d lives | answered | refused | lost | unproven |\n| --- | --- | --- | --- | --- |\n", r.result.Lives)
	for _, l := range r.result.Loads {
		if l.Answered+l.Refused+l.Lost+l.Unproven > 0 {
			fmt.Fprintf(w, "| %s | %d | %d | %d | %d |\n", l.Name, l.Answered, l.Refused, l.Lost, l.Unproven)
		}
	}
	said := map[stoptest.Promise]bool{}
	for _, f := range r.result.Findings {
		if said[f.Promise] {
			continue
		}
		if len(said) == 0 {
			fmt.Fprintln(w)
		}
		said[f.Promise] = true
		fmt.Fprintf(w, "- %s (%s), at %s: %s\n", f.Promise, strings.Trim(r.verdict(f.Promise), "*"), f.Moment, firstLine(f.Saw))
	}
	if r.err != nil {
		fmt.Fprintf(w, "\nThe census of it ended early: %s.\n", firstLine(r.err.Error()))
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
