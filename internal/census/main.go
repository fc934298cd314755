// Census stops real servers as package stoptest does, and writes what it saw as a page:
//
//	go run ./internal/census >docs/census.md
//
// It needs the programs of the table in programs.go, on PATH or, if their packages are only
// unpacked, in the folders of -path. The page names those that are missing. All of them run
// on loopback and with the census's own files. None needs root.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

const (
	budget = 10 * time.Second // from the first signal to the exit
	beside = 4                // how many programs are stopped at a time
)

func main() {
	path := flag.String("path", "", "`folders` with programs, before those of PATH")
	only := flag.String("only", "", "the `name` of the one program to stop")
	flag.Parse()
	os.Setenv("PATH", *path+":"+os.Getenv("PATH")+":/usr/sbin")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "census:", err)
		os.Exit(1)
	}
}

// A report is what was seen of a program.
type report struct {
	program
	version string
	result  stoptest.Result
	err     error
}

func run(ctx context.Context, only string) error {
	began := time.Now()
	backend, err := newBackend()
	if err != nil {
		return err
	}
	defer backend.Close()
	var reports []*report
	var all sync.WaitGroup
	places := make(chan struct{}, beside)
	for _, p := range programs {
		if only != "" && only != p.name {
			continue
		}
		r := &report{program: p}
		reports = append(reports, r)
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			r.run(ctx, backend.Addr().String())
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	page(os.Stdout, reports, time.Since(began), began)
	return nil
}

// run stops the program at each moment, unless it is missing.
func (r *report) run(ctx context.Context, backend string) {
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%s: %s\n", r.name, fmt.Sprintf(format, args...))
	}
	if r.build != "" {
		tmp, err := os.MkdirTemp("", "census")
		if err != nil {
			r.err = err
			return
		}
		defer os.RemoveAll(tmp)
		r.args[0] = filepath.Join(tmp, "program")
		if out, err := exec.CommandContext(ctx, "go", "-C", r.build, "build", "-o", r.args[0], ".").CombinedOutput(); err != nil {
			r.err = fmt.Errorf("%w\n%s", err, out)
			return
		}
	}
	if _, err := exec.LookPath(r.args[0]); err != nil {
		r.err = fmt.Errorf("not here; it is in %s", r.from)
		say("%v", r.err)
		return
	}
	if len(r.versions) > 0 {
		out, _ := exec.CommandContext(ctx, r.versions[0], r.versions[1:]...).CombinedOutput()
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		r.version = first
	}
	p := stoptest.Program{
		Command: func(l *stoptest.Life) *exec.Cmd { return r.command(l, backend) },
		Ready:   r.ready,
		Load:    r.loads,
		Budget:  cmp.Or(r.budget, budget),
		Start:   time.Minute,
	}
	for _, name := range r.signals {
		s, err := stoptest.Signal(name)
		if err != nil {
			r.err = err
			return
		}
		p.Signals = append(p.Signals, s)
	}
	r.result, r.err = stoptest.Check(ctx, p)
	if r.err != nil {
		say("%v", r.err)
	}
	say("%d lives", r.result.Lives)
}

// command writes the program's files and returns its command.
func (r *report) command(l *stoptest.Life, backend string) *exec.Cmd {
	expand := func(s string) string {
		s = strings.NewReplacer("{backend}", backend).Replace(s)
		for _, name := range []string{"{addr}", "{port}", "{dir}", "{admin}"} {
			s = strings.ReplaceAll(s, name, l.Expand(name))
		}
		return s
	}
	for name, text := range r.files {
		path := filepath.Join(l.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return &exec.Cmd{Err: err}
		}
		if err := os.WriteFile(path, []byte(expand(text)), 0o644); err != nil {
			return &exec.Cmd{Err: err}
		}
	}
	var args []string
	for _, a := range r.args {
		args = append(args, expand(a))
	}
	c := exec.Command(args[0], args[1:]...)
	c.Env = os.Environ()
	for _, v := range r.env {
		c.Env = append(c.Env, expand(v))
	}
	return c
}
