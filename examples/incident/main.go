// Incident replays the outage of incident.md on real processes, twice: before, with
// the programs as they were then, and after, with the same programs on evenkeel. It
// prints a table of what both worlds did to the user, and writes a page for each that
// shows what caused what. Its exit status is 0 only if both show what they must. With
// -kill no signal stops the gateway: a session kills it, again and again.
//
// schedule.go is the data. gateway.go and cli.go are the programs to copy from,
// before.go those not to.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/lifecycle/timeline"
)

// Slower than minScale, times would overflow. Faster than maxScale, an answer
// takes less time than a busy machine needs to start a process.
const minScale, maxScale = 0.001, 120

func main() {
	if status, ok := play(); ok {
		os.Exit(status)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the replay. Its exit status is 0 if both worlds show what they must, 1 if one
// does not, and 2 for arguments that it cannot use.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("incident", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // Parse's errors are printed below, in one line
	scale := flags.Float64("scale", 60, "how many times faster than the incident's 12 minutes, 120 at most")
	verbose := flags.Bool("v", false, "show the log lines of all processes")
	dir := flags.String("out", "", "keep the log lines in this `folder`, as before.jsonl and after.jsonl, and the pages; without it these are in a new temporary one")
	kill := flags.Bool("kill", false, "replay the worst form: nothing asks the gateway to stop, a session kills it again and again")
	refuse := func(format string, args ...any) int {
		fmt.Fprintf(stderr, "incident: "+format+"\n", args...)
		return 2
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return 0
	case err != nil:
		return refuse("%v; -h lists the flags", err)
	case flags.NArg() > 0:
		return refuse("unexpected argument %q", flags.Arg(0))
	case !(*scale >= minScale && *scale <= maxScale):
		return refuse("-scale: %v is not above 0 and at most %v", *scale, maxScale)
	case !supported:
		return refuse("needs a system on which processes send each other signals")
	}
	if *dir != "" {
		if err := writable(*dir); err != nil {
			return refuse("-out: %v", err)
		}
	}

	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()
	r, events, judge := role{Scale: *scale}, schedule, compare
	if *kill {
		r.Poison, events, judge = poison, killing, compareKills
	}
	var worlds []*world
	for _, name := range []string{"before", "after"} {
		r.World = name
		var echo io.Writer
		if *verbose {
			echo = stdout
		}
		w := &world{role: r, journal: newJournal(echo), events: events, out: stdout}
		err := w.run(ctx)
		if ctx.Err() != nil {
			fmt.Fprintf(stderr, "incident: %v; all processes have ended\n", context.Cause(ctx))
			return 1
		}
		if *dir != "" {
			err = errors.Join(err, os.WriteFile(filepath.Join(*dir, name+".jsonl"), []byte(w.text()), 0o666))
		}
		if err != nil {
			fmt.Fprintf(stderr, "incident: %v\n", err)
			return 1
		}
		worlds = append(worlds, w)
		fmt.Fprintln(stdout)
	}
	good := judge(stdout, r, tallied(worlds[0].all()), tallied(worlds[1].all()))
	if err := draw(stdout, *dir, worlds); err != nil {
		fmt.Fprintf(stderr, "incident: %v\n", err)
		return 1
	}
	if !good {
		return 1
	}
	return 0
}

// draw writes a page for each world, and prints their paths.
func draw(out io.Writer, dir string, worlds []*world) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "incident-*"); err != nil {
			return err
		}
	}
	for _, w := range worlds {
		t := timeline.Read(timeline.Input{Name: w.World + ".jsonl", Reader: strings.NewReader(w.text())})
		page := filepath.Join(dir, w.World+".html")
		f, err := os.Create(page)
		if err != nil {
			return err
		}
		if err := errors.Join(t.WriteHTML(f), f.Close()); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: what caused what: %s\n", w.World, page)
	}
	return nil
}

// writable creates a missing folder, and checks that it can be written.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "incident-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
