package timeline

import (
	"bufio"
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// An input reads one Input, line by line.
type input struct {
	Input
	r      *bufio.Reader
	number int // among the inputs
	lines  int // read
	queued int // that wait for their turn
	done   bool

	keys  *recent[time.Time] // of each process's latest line
	last  *line              // for what has no time: the trace of a crash
	crash bool               // what follows is a trace
	table *table             // of a ledger, where this is one
	lost  func(Unread)
}

const (
	window   = 1000    // lines of an input that may be out of order
	lineSize = 1 << 20 // longer ones are left out
)

// merge calls take with the lines of all inputs.
func merge(inputs []Input, take func(*line), lost func(Unread)) {
	var q queue
	for i, in := range inputs {
		in := &input{Input: in, r: bufio.NewReaderSize(in, 64<<10), number: i, keys: newRecent[time.Time](window), lost: lost}
		in.fill(&q)
	}
	for len(q) > 0 {
		l := heap.Pop(&q).(*line)
		l.in.queued--
		take(l)
		l.in.fill(&q)
	}
}

// A queue is a heap of lines, the earliest first.
type queue []*line

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	switch {
	case !a.key.Equal(b.key):
		return a.key.Before(b.key)
	case a.in != b.in:
		return a.in.number < b.in.number
	}
	return a.n < b.n
}
func (q *queue) Push(l any) { *q = append(*q, l.(*line)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	l := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return l
}

// fill puts as many lines into q as may wait there. A line's key is not before
// that of the line before it of the same process.
func (in *input) fill(q *queue) {
	for !in.done && in.queued < window {
		for _, l := range in.next() {
			who := in.process(l)
			l.key = l.at
			if before, ok := in.keys.get(who); ok && before.After(l.key) {
				l.key = before
			}
			in.keys.put(who, l.key)
			in.last = l
			in.queued++
			heap.Push(q, l)
		}
	}
}

// process returns the key of the process that wrote a line, or that it is about.
func (in *input) process(l *line) string {
	if l.pid > 1 {
		return "pid " + itoa(l.pid)
	}
	return itoa(in.number) + " " + l.who
}

// next reads a line. A line of a ledger's table is two.
func (in *input) next() []*line {
	text, err := in.line()
	if err != nil && err != io.EOF {
		in.done = true
		in.lost(Unread{in.Name, 0, err.Error()})
	}
	in.done = in.done || err == io.EOF
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return nil
	case bytes.HasPrefix(text, []byte("BEGAN ")):
		in.table = newTable(string(text))
		return nil
	case in.table != nil && text[0] != '{':
		ls, err := in.table.lines(in, string(text))
		in.unread(err)
		return ls
	case text[0] != '{':
		return in.plain(string(text))
	}
	in.crash = false
	l, err := in.parse(text)
	in.unread(err)
	if at := bytes.LastIndex(text, []byte(`{"time":"`)); err != nil && at > 0 {
		l, err = in.parse(text[at:]) // the end of a process tore the line before
	}
	if err != nil {
		return nil
	}
	return []*line{l}
}

var errLong = fmt.Errorf("longer than %d bytes", lineSize)

// line returns the next line, and io.EOF with the last one.
func (in *input) line() (text []byte, err error) {
	in.lines++
	for {
		part, err := in.r.ReadSlice('\n')
		if len(text) <= lineSize {
			text = append(text, part...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if len(text) > lineSize {
			in.unread(errLong)
			text = nil
		}
		return text, err
	}
}

func (in *input) unread(err error) {
	if err != nil {
		in.lost(Unread{in.Name, in.lines, err.Error()})
	}
}

// plain reads what a Go program writes when it crashes, as a line of the process
// that wrote the line before.
func (in *input) plain(text string) []*line {
	switch {
	case in.crash:
		return nil
	case in.last != nil && (strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")):
		l := *in.last
		l.n, l.msg, l.isError, l.attrs = in.lines, short(text, longest), true, nil
		l.child, l.of, l.signal, l.status = 0, "", "", ""
		in.crash = true
		return []*line{&l}
	}
	in.unread(errors.New("not JSON"))
	return nil
}

// A table is what restart.Ledger's Table returns, as text: its columns begin
// where those of its first line do.
type table struct{ at map[string][2]int }

func newTable(head string) *table {
	t := &table{map[string][2]int{}}
	names := strings.Fields(head)
	for i, name := range names {
		end := 1 << 20
		if i+1 < len(names) {
			end = strings.Index(head, names[i+1])
		}
		t.at[name] = [2]int{strings.Index(head, name), end}
	}
	return t
}

// lines returns the start and, unless it is open, the end of a run.
func (t *table) lines(in *input, text string) ([]*line, error) {
	cell := func(name string) string {
		at, ok := t.at[name]
		if !ok || at[0] >= len(text) {
			return ""
		}
		return strings.TrimSpace(text[at[0]:min(at[1], len(text))])
	}
	began, err := time.Parse(time.RFC3339, cell("BEGAN"))
	if err != nil {
		return nil, fmt.Errorf("a ledger's BEGAN: %w", err)
	}
	pid, err := strconv.Atoi(cell("PID"))
	if err != nil {
		return nil, fmt.Errorf("a ledger's PID: %w", err)
	}
	start := &line{in: in, n: in.lines, at: began, pid: pid, msg: "run began",
		attrs: map[string]string{"level": cell("LEVEL"), "waited": cell("WAITED")}}
	lasted, err := time.ParseDuration(cell("LASTED"))
	if err != nil || cell("END") == "open" {
		return []*line{start}, nil
	}
	end := *start
	end.at, end.msg, end.status = began.Add(lasted), "run ended", cell("END")
	end.attrs = map[string]string{"end": cell("END"), "cut": cell("CUT"), "lasted": cell("LASTED")}
	return []*line{start, &end}, nil
}
