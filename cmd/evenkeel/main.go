// Evenkeel has the library's tools.
//
//	evenkeel timeline [flags] [file|folder|glob|-]...
//	evenkeel ledger file...
//
// Timeline reads the logs of many programs and shows what caused what: as tables on
// its standard output, as a page, as JSON, or as a trace for ui.perfetto.dev. It
// takes logs as they are: files, globs, folders with all their files, gzip, and - for
// the standard input.
//
//	evenkeel timeline gateway.log cli-*.jsonl /var/log/nginx
//	journalctl -o json --since -1h | evenkeel timeline -html outage.html
//	docker compose logs -t | evenkeel timeline -rules ours.json -
//
// Ledger prints the runs of a process from the file of its restart.Ledger: when each
// began, after which wait, how long it lasted, what ended it, and how many sessions
// it cut. It changes nothing, also while the process runs.
//
// The exit status is 1 if something could not be read or written, and 2 for
// arguments that a command cannot use.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/evenkeel-go/evenkeel/restart"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

const usage = `usage:
  evenkeel timeline [flags] [file|folder|glob|-]...   what caused what, from logs; -help lists the flags
  evenkeel ledger file...                             the runs of a process
`

// run returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "timeline":
			return showTimeline(args[1:], stdin, stdout, stderr)
		case "ledger":
			return showLedgers(args[1:], stdout, stderr)
		case "help", "-h", "-help", "--help":
			fmt.Fprint(stdout, usage)
			return 0
		}
		fmt.Fprintf(stderr, "evenkeel: no command %q\n", args[0])
	}
	fmt.Fprint(stderr, usage)
	return 2
}

// showLedgers is the command ledger.
func showLedgers(paths []string, stdout, stderr io.Writer) (status int) {
	if len(paths) == 0 {
		fmt.Fprint(stderr, "evenkeel ledger: no file; name the Path of a restart.Ledger\n")
		return 2
	}
	for _, path := range paths {
		table, err := (&restart.Ledger{Path: path}).Table()
		if err != nil {
			fmt.Fprintf(stderr, "evenkeel ledger: %v\n", err)
			status = 1
			continue
		}
		if len(paths) > 1 {
			fmt.Fprintf(stdout, "%s:\n", path)
		}
		fmt.Fprint(stdout, table)
	}
	return status
}
