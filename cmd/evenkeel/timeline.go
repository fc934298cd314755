package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle/timeline"
)

// showTimeline is the command timeline.
func showTimeline(args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	flags := flag.NewFlagSet("evenkeel timeline", flag.ContinueOnError)
	flags.SetOutput(stderr)
	page := flags.String("html", "", "write a page to this `file`, and no tables")
	asJSON := flags.Bool("json", false, "write events, links and chains as JSON, and no tables")
	trace := flags.String("perfetto", "", "write a trace for ui.perfetto.dev to this `file`, and no tables")
	rules := flags.String("rules", "", "read further formats and rules from this JSON `file`")
	zone := flags.String("zone", "", "the `zone` of times without one, as Europe/Berlin or +02:00")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	fail := func(err error) {
		fmt.Fprintf(stderr, "evenkeel timeline: %s\n", strings.TrimPrefix(err.Error(), "timeline: "))
	}
	options, err := optionsOf(*rules, *zone)
	if err != nil {
		fail(err)
		return 2
	}
	inputs, closing, errs := open(flags.Args(), stdin)
	defer closing()
	t, err := options.Read(inputs...)
	if err != nil {
		fail(err)
		return 2
	}
	errs = append(errs, show(t, *page, *trace, *asJSON, stdout))
	for _, err := range append(errs, t.Unread...) {
		if err != nil {
			fail(err)
			status = 1
		}
	}
	return status
}

func optionsOf(rules, zone string) (o timeline.Options, err error) {
	if rules != "" {
		f, err := os.Open(rules)
		if err != nil {
			return o, err
		}
		defer f.Close()
		if o.Tables, err = timeline.LoadTables(f); err != nil {
			return o, fmt.Errorf("%s: %w", rules, err)
		}
	}
	if zone == "" {
		return o, nil
	}
	if t, err := time.Parse("-07:00", zone); err == nil {
		o.Zone = t.Location()
		return o, nil
	}
	o.Zone, err = time.LoadLocation(zone)
	return o, err
}

// open opens all files that the arguments name, and the standard input if they
// name none.
func open(args []string, stdin io.Reader) (inputs []timeline.Input, closing func(), errs []error) {
	var files []*os.File
	closing = func() {
		for _, f := range files {
			f.Close()
		}
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	for _, arg := range args {
		if arg == "-" {
			inputs = append(inputs, timeline.Input{Name: "standard input", Reader: stdin})
			continue
		}
		names, err := expand(arg)
		errs = append(errs, err)
		for _, name := range names {
			f, err := os.Open(name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			files = append(files, f)
			inputs = append(inputs, timeline.Input{Name: name, Reader: f})
		}
	}
	return inputs, closing, errs
}

// expand returns the files of a name, a pattern or a folder.
func expand(arg string) (names []string, err error) {
	matches := []string{arg}
	if _, err := os.Stat(arg); err != nil {
		if found, bad := filepath.Glob(arg); bad == nil && len(found) > 0 {
			matches = found
		}
	}
	for _, m := range matches {
		if info, err := os.Stat(m); err != nil || !info.IsDir() {
			names = append(names, m)
			continue
		}
		walk := filepath.WalkDir(m, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				names = append(names, path)
			}
			return err
		})
		err = errors.Join(err, walk)
	}
	slices.Sort(names)
	return names, err
}

func show(t *timeline.Timeline, page, trace string, asJSON bool, stdout io.Writer) error {
	if page == "" && trace == "" && !asJSON {
		return t.WriteText(stdout)
	}
	var errs []error
	if asJSON {
		errs = append(errs, t.WriteJSON(stdout))
	}
	for name, write := range map[string]func(io.Writer) error{page: t.WriteHTML, trace: t.WritePerfetto} {
		if name == "" {
			continue
		}
		f, err := os.Create(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, write(f), f.Close())
	}
	return errors.Join(errs...)
}
