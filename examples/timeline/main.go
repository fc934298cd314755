// Timeline reads the logs of many processes, and shows what caused what: as
// tables on its standard output, or with -html as a page.
//
//	timeline gateway.jsonl cli-*.jsonl
//	journalctl -o json --since -1h | timeline -html outage.html
//
// It takes lines of log/slog, what journalctl -o json writes, and the tables of
// restart.Ledger. What it cannot read it names, file and line, on its standard
// error; it shows the rest and then exits with status 1.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/evenkeel-go/evenkeel/lifecycle/timeline"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run returns the exit status: 0, 1 where something could not be read or
// written, 2 for arguments that it cannot use.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	flags := flag.NewFlagSet("timeline", flag.ContinueOnError)
	flags.SetOutput(stderr)
	page := flags.String("html", "", "write a page to this `file`, and no tables")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	inputs := []timeline.Input{{Name: "standard input", Reader: stdin}}
	if flags.NArg() > 0 {
		inputs = nil
	}
	for _, name := range flags.Args() {
		f, err := os.Open(name)
		if err != nil {
			fmt.Fprintf(stderr, "timeline: %v\n", err)
			status = 1
			continue
		}
		defer f.Close()
		inputs = append(inputs, timeline.Input{Name: name, Reader: f})
	}
	t := timeline.Read(inputs...)
	if err := show(t, *page, stdout); err != nil {
		fmt.Fprintf(stderr, "timeline: %v\n", err)
		status = 1
	}
	for _, u := range t.Unread {
		fmt.Fprintf(stderr, "timeline: %v\n", u)
		status = 1
	}
	if t.MoreUnread > 0 {
		fmt.Fprintf(stderr, "timeline: and %d lines more that could not be read\n", t.MoreUnread)
	}
	return status
}

func show(t *timeline.Timeline, page string, stdout io.Writer) error {
	if page == "" {
		return t.WriteText(stdout)
	}
	f, err := os.Create(page)
	if err != nil {
		return err
	}
	return errors.Join(t.WriteHTML(f), f.Close())
}
