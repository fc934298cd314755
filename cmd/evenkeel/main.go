// Evenkeel has the library's tools.
//
//	evenkeel timeline [flags] [file|folder|glob|-]...
//	evenkeel ledger [-json] file...
//	evenkeel prove [flags] -- program [argument]...
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
// it cut or had in flight when it died. With -json each run is a line of JSON, as
// restart.Run has it, with the file's name, for programs. It changes nothing, also while the process runs.
//
// Prove starts a program, in any language, again and again. It stops each life at another
// moment, under load, and reports what the program lost. Package stoptest has the promises
// that it judges.
//
//	evenkeel prove -ready http://{addr}/readyz -load 'GET /' -load 'POST /upload 1MB' -- ./service -addr {addr}
//
// The exit status is 1 if something could not be read or written or a program broke a
// promise, and 2 for arguments that a command cannot use.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

const usage = `usage:
  evenkeel timeline [flags] [file|folder|glob|-]...   what caused what, from logs; -help lists the flags
  evenkeel ledger [-json] file...                     the runs of a process
  evenkeel prove [flags] -- program [argument]...     what a program loses when it stops; -help lists the flags
`

// run returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "timeline":
			return showTimeline(args[1:], stdin, stdout, stderr)
		case "ledger":
			return showLedgers(args[1:], stdout, stderr)
		case "prove":
			return prove(args[1:], stdout, stderr)
		case "help", "-h", "-help", "--help":
			fmt.Fprint(stdout, usage)
			return 0
		}
		fmt.Fprintf(stderr, "evenkeel: no command %q\n", args[0])
	}
	fmt.Fprint(stderr, usage)
	return 2
}
