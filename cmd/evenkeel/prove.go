package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

// prove is the command prove.
func prove(args []string, stdout, stderr io.Writer) (status int) {
	var p stoptest.Program
	flags := flag.NewFlagSet("evenkeel prove", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, "usage: evenkeel prove [flags] -- program [argument]...\n\n"+
			"{addr} in arguments and in -ready is a free loopback address, {port} its port, {dir} a\n"+
			"folder for state, and any other name in braces a further address.\n\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&p.Ready, "ready", "", "`URL` or path that answers 2xx when the program is ready; without it, when it listens")
	flags.StringVar(&p.Addr, "addr", "", "`HOST:PORT` of a program that has a fixed one")
	flags.IntVar(&p.Lives, "lives", 0, "how often it is stopped; 0 means each moment once")
	flags.Uint64Var(&p.Seed, "seed", 0, "the first life's moment and delays")
	flags.DurationVar(&p.Budget, "budget", 0, "the time from the first signal to the exit (30s)")
	flags.DurationVar(&p.Start, "start", 0, "the time from the start until it is ready (30s)")
	asJSON := flags.Bool("json", false, "write the result as JSON")
	page := flags.String("html", "", "write the timelines of what was found to this `file`")
	flags.Func("load", "what clients do, may be repeated: GET, SLOW or EVENTS and a target, POST with a target\n"+
		"and a size such as 1MB or a form such as a=b, SILENT. A `target` is a path or a URL with {addr}", func(s string) error {
		l, err := loadOf(s)
		p.Load = append(p.Load, l)
		return err
	})
	flags.Func("signal", "`name` of the signals that ask for an orderly stop, may be repeated (TERM, INT)", func(s string) error {
		sig, err := stoptest.Signal(s)
		p.Signals = append(p.Signals, sig)
		return err
	})
	flags.Func("except", "a `promise` that the program does not make, may be repeated", func(s string) error {
		if !slices.Contains(stoptest.Promises(), stoptest.Promise(s)) {
			return errors.New("the promises are those of the table that prove prints")
		}
		p.Except = append(p.Except, stoptest.Promise(s))
		return nil
	})
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	fail := func(status int, err error) int {
		fmt.Fprintf(stderr, "evenkeel prove: %s\n", strings.TrimPrefix(err.Error(), "stoptest: "))
		return status
	}
	if flags.NArg() == 0 {
		return fail(2, errors.New("no program; write its command after --"))
	}
	// An error of the program is bad usage too: the command, the flags and it do not fit.
	program, err := exec.LookPath(flags.Arg(0))
	if err != nil {
		return fail(2, err)
	}
	if program, err = filepath.Abs(program); err != nil {
		return fail(2, err)
	}
	p.Command = func(l *stoptest.Life) *exec.Cmd {
		c := exec.Command(program)
		c.Dir = "." // that of the user, so that relative paths of arguments hold
		for _, a := range flags.Args()[1:] {
			c.Args = append(c.Args, l.Expand(a))
		}
		return c
	}
	p.Progress = stderr
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	result, err := stoptest.Check(ctx, p)
	if result.Lives > 0 {
		err = errors.Join(err, report(result, *page, *asJSON, stdout))
	}
	switch {
	case err != nil && result.Lives == 0:
		return fail(2, err)
	case err != nil:
		return fail(1, err)
	case len(result.Broken()) > 0:
		return 1
	}
	return 0
}

func report(r stoptest.Result, page string, asJSON bool, stdout io.Writer) error {
	var errs []error
	if asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		errs = append(errs, e.Encode(r))
	} else {
		errs = append(errs, r.WriteText(stdout))
	}
	if page != "" {
		f, err := os.Create(page)
		if err == nil {
			err = errors.Join(r.WriteHTML(f), f.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var sizes = regexp.MustCompile(`^(\d+)(B|KB|MB|GB)$`)

// loadOf returns the load that a flag describes.
func loadOf(s string) (stoptest.Load, error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	target, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
	rest = strings.TrimSpace(rest)
	kind = strings.ToUpper(kind)
	if target == "" && kind != "SILENT" {
		return stoptest.Load{}, errors.New("it needs a target, as in 'GET /'")
	}
	size := sizes.FindStringSubmatch(rest)
	switch {
	case kind == "POST" && size != nil:
		n, err := strconv.ParseInt(size[1], 10, 32)
		return stoptest.Upload(target, n<<map[string]int{"B": 0, "KB": 10, "MB": 20, "GB": 30}[size[2]]), err
	case kind == "POST" && (strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "[")):
		return stoptest.Post(target, "application/json", rest), nil
	case kind == "POST":
		return stoptest.Post(target, "application/x-www-form-urlencoded", rest), nil
	case kind == "EVENTS":
		return stoptest.Events(target, rest), nil
	case kind == "GET" && rest == "":
		return stoptest.Get(target), nil
	case kind == "SLOW" && rest == "":
		return stoptest.Slow(target), nil
	case kind == "SILENT" && target == "":
		return stoptest.Silent(), nil
	}
	return stoptest.Load{}, errors.New("it begins with GET, POST, EVENTS, SLOW or SILENT; see -help")
}
