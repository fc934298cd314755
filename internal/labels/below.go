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

	// Stack has a line for each call, innermost first: function file:line. It
	// begins with the first call that belongs neither to the runtime nor to this
	// library: where a goroutine parks says less than who made it wait.
	Stack string

	// Own is set if the stack has calls of the runtime and of this library only.
	// Stack then shows them. The goroutine waits for others, which have names too.
	Own bool
}

// Below lists the goroutines that bear owner's label or one below it. A goroutine
// that never ran yet has no label and is missed.
//
// It reads the goroutine profile of the process: 1 to 4 µs for each goroutine. Do
// not call it where a deadline is near.
func Below(owner string) ([]Found, error) {
	r := reader{owner: owner}
	read := make(chan error)
	go func() { // without a label: the profile does not show its own goroutine
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

// A reader takes the text form of a goroutine profile, and keeps what is below
// owner. The text has a block for each group of equal goroutines:
//
//	2 @ 0x47b7ce 0x40f1fd 0x5 …
//	# labels: {"evenkeel":"/1a/2b worker"}
//	#	0x56bc3e	main.work+0x1e	/src/main.go:22
type reader struct {
	owner string
	found []Found
	part  []byte // of a line whose end is still to come

	count       int // of the block
	name        string
	listed      bool            // the block's label is owner's or below
	stack, rest strings.Builder // from the first call of others on; all calls
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

// label takes a list of quoted keys and values.
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

// call takes the line of a call. Between its columns are one or more tabs.
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
	// One goroutine takes the process's signals. It bears the label of the first
	// that asked for any.
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
