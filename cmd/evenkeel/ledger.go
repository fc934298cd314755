package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/evenkeel-go/evenkeel/restart"
)

// showLedgers is the command ledger.
func showLedgers(args []string, stdout, stderr io.Writer) (status int) {
	flags := flag.NewFlagSet("evenkeel ledger", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "write each run as a line of JSON, and no table")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if flags.NArg() == 0 {
		fmt.Fprint(stderr, "evenkeel ledger: no file; name the Path of a restart.Ledger\n")
		return 2
	}
	for _, path := range flags.Args() {
		title := ""
		if flags.NArg() > 1 && !*asJSON {
			title = path + ":\n"
		}
		text, err := runsOf(&restart.Ledger{Path: path}, *asJSON)
		if err != nil {
			fmt.Fprintf(stderr, "evenkeel ledger: %v\n", err)
			status = 1
			continue
		}
		fmt.Fprint(stdout, title, text)
	}
	return status
}

// runsOf returns the runs in a ledger as a table, or as lines of JSON.
func runsOf(l *restart.Ledger, asJSON bool) (text string, err error) {
	if !asJSON {
		return l.Table()
	}
	runs, err := l.Runs()
	if err != nil {
		return "", err
	}
	file, err := json.Marshal(l.Path)
	for _, run := range runs {
		line, err := json.Marshal(run)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("{\"file\":%s,%s\n", file, line[1:])
	}
	return text, err
}
