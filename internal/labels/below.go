package labels

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
)

// A Found is a number of goroutines with one name that stand at one place.
type Found struct {
	Name  string
	Count int

	// Stack has a line for each call, innermost first: function file:line. It begins
	// with the first call outside the runtime and this library, as the code that waits
	// says more than the place in the runtime.
	Stack string

	// Own is set if all calls are the runtime's and this library's. Stack then shows
	// them. Such a goroutine waits for others, which have names too.
	Own bool
}

// Below lists the goroutines with owner's label or one below it. It misses a goroutine
// that has not run yet, as that has no label.
//
// It reads the goroutine profile of the process, which takes 1 to 4 µs for each
// goroutine. Do not call it when a deadline is near.
func Below(owner string) ([]Found, error) {
	r := reader{owner: owner}
	read := make(chan error)
	go func() { // it has no label, as the search must not find itself
		pprof.SetGoroutineLabels(context.Background())
		read <- pprof.Lookup("goroutine").WriteTo(&r, 1)
	}()
	if err := <-read; err != nil {
		return nil, fmt.Errorf("goroutine profile: %w", err)
	}
	r.end()
	slices.SortStableFunc(r.found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Count, a.Count))
	})
	return r.found, nil
}

// A reader reads a goroutine profile in its text form, and keeps what is below owner.
// The text has a block for each set of equal goroutines:
//
//	2 @ 0x47b7ce 0x40f1fd 0x5 …
//	# labels: {"evenkeel":"/1a/2b worker"}
//	#	0x56bc3e	main.work+0x1e	/src/main.go:22
type reader struct {
	owner string
	found []Found
	part  []byte // the begin of a line that goes on in the next Write

	count       int // the goroutines of the block
	name        string
	listed      bool            // the block's label is owner's or one below
	stack, rest strings.Builder // stack begins at the first call outside; rest has all calls
	loop        bool
}

func (r *reader) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			r.part = append(r.part, p...)
			return n, nil
		}
		line := p[:i]
		if len(r.part) > 0 {
			line = append(r.part, line...)
			r.part = line[:0]
		}
		r.line(line)
		p = p[i+1:]
	}
}

func (r *reader) line(line []byte) {
	switch {
	case len(line) == 0:
	case line[0] != '#':
		r.end()
		number, _, _ := bytes.Cut(line, []byte(" "))
		r.count, _ = strconv.Atoi(string(number))
	case bytes.HasPrefix(line, []byte("# labels: {")):
		r.label(string(line[len("# labels: "):]))
	case r.listed:
		r.call(string(line))
	}
}

// label reads the block's labels, a list of quoted keys and values.
func (r *reader) label(list string) {
	const quoted = `"` + key + `":`
	_, value, ok := strings.Cut(list, "{"+quoted)
	if !ok {
		_, value, _ = strings.Cut(list, ", "+quoted)
	}
	value, _ = strconv.QuotedPrefix(value)
	value, _ = strconv.Unquote(value)
	path, name, _ := strings.Cut(value, " ")
	r.name = name
	r.listed = r.owner != "" && (path == r.owner || strings.HasPrefix(path, r.owner+"/"))
}

// call reads the line of a call. One or more tabs separate its columns.
func (r *reader) call(line string) {
	f := strings.FieldsFunc(line, func(c rune) bool { return c == '\t' })
	if len(f) != 4 {
		return // without a name
	}
	function := f[2]
	if i := strings.LastIndexByte(function, '+'); i > 0 {
		function = function[:i]
	}
	text := fmt.Sprintf("%s %s\n", path.Base(function), f[3])
	r.rest.WriteString(text)
	if r.stack.Len() > 0 || !ours(function) {
		r.stack.WriteString(text)
	}
	// The goroutine that receives all signals of the process has the label of the
	// goroutine that first called signal.Notify. It is no leak of that.
	r.loop = function == "os/signal.loop"
}

// end ends a block.
func (r *reader) end() {
	if r.listed && !r.loop {
		f := Found{Name: r.name, Count: r.count, Stack: r.stack.String()}
		if f.Own = f.Stack == ""; f.Own {
			f.Stack = r.rest.String()
		}
		r.found = append(r.found, f)
	}
	r.listed, r.loop = false, false
	r.stack.Reset()
	r.rest.Reset()
}

// ours reports whether function is the runtime's or this library's.
func ours(function string) bool {
	const module = "github.com/evenkeel-go/evenkeel/"
	for _, p := range [...]string{"runtime.", "internal/runtime/", module + "drain.", module + "lifecycle.", module + "restart.", module + "internal/labels.", module + "internal/panics."} {
		if strings.HasPrefix(function, p) {
			return true
		}
	}
	return false
}
