package timeline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An input reads one Input, line by line.
type input struct {
	Input
	r      *bufio.Reader
	number int     // among the inputs
	lines  int     // read
	queue  []*line // that wait for their turn, in the order of their keys
	done   bool

	keys   *recent[time.Time] // of each process's latest line
	last   *line              // for what has no time: the trace of a crash
	crash  bool               // what follows is a trace
	ledger bool               // what follows are the rows of a ledger's table
	lost   func(error)
}

const (
	window   = 1000    // lines of an input that may be out of order
	lineSize = 1 << 20 // longer ones are left out
)

// merge calls take with the lines of all inputs.
func merge(inputs []Input, take func(*line), lost func(error)) {
	var live []*input
	for i, in := range inputs {
		live = append(live, &input{Input: in, r: bufio.NewReaderSize(in, 64<<10), number: i, keys: newRecent[time.Time](window), lost: lost})
		live[i].fill()
	}
	for {
		live = slices.DeleteFunc(live, func(in *input) bool { return len(in.queue) == 0 })
		if len(live) == 0 {
			return
		}
		in := slices.MinFunc(live, func(a, b *input) int { return a.queue[0].key.Compare(b.queue[0].key) })
		l := in.queue[0]
		in.queue = in.queue[1:]
		take(l)
		in.fill()
	}
}

// fill reads as many lines as may wait. A line's key is not before that of the
// line before it of the same process.
func (in *input) fill() {
	for !in.done && len(in.queue) < window {
		for _, l := range in.next() {
			who := in.process(l)
			l.key = l.at
			if l.systemd && l.kind() == Order {
				l.key = l.at.Add(-early)
			}
			if before, ok := in.keys.get(who); ok && before.After(l.key) {
				l.key = before
			}
			in.keys.put(who, l.key)
			in.last = l
			i := len(in.queue)
			for i > 0 && in.queue[i-1].key.After(l.key) {
				i--
			}
			in.queue = slices.Insert(in.queue, i, l)
		}
	}
}

// process returns the key of the process that wrote a line, or that it is about.
func (in *input) process(l *line) string {
	if l.pid > 1 {
		return pidKey(l.pid)
	}
	return strconv.Itoa(in.number) + " " + l.who
}

func pidKey(pid int) string { return "pid " + strconv.Itoa(pid) }

// next reads a line. A row of a ledger's table is two.
func (in *input) next() []*line {
	text, err := in.line()
	if err != nil && err != io.EOF {
		in.lost(fmt.Errorf("%s: %w", in.Name, err))
	}
	in.done = err != nil
	switch text = bytes.TrimSpace(text); {
	case len(text) == 0:
		return nil
	case text[0] != '{':
		return in.plain(string(text))
	}
	in.crash, in.ledger = false, false
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

// line returns the next line, and with the last one an error.
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
			in.unread(fmt.Errorf("longer than %d bytes", lineSize))
			text = nil
		}
		return text, err
	}
}

func (in *input) unread(err error) {
	if err != nil {
		in.lost(fmt.Errorf("%s:%d: %w", in.Name, in.lines, err))
	}
}

// plain reads what is not JSON: a ledger's table, and what a Go program writes
// when it crashes, as a line of the process that wrote the line before.
func (in *input) plain(text string) []*line {
	switch {
	case strings.HasPrefix(text, "BEGAN "):
		in.ledger = true
	case in.ledger:
		ls, err := in.run(text)
		in.unread(err)
		return ls
	case in.crash:
	case in.last != nil && isCrash(text):
		in.crash = true
		l := *in.last
		l = line{in: in, n: in.lines, at: l.at, pid: l.pid, who: l.who, session: l.session, msg: short(text, longest), isError: true}
		return []*line{&l}
	default:
		in.unread(errors.New("not JSON"))
	}
	return nil
}

// run reads a row of what restart.Ledger's Table returns, as the start and, unless
// it is open, the end of a run.
func (in *input) run(row string) ([]*line, error) {
	f := append(strings.Fields(row), "", "", "", "", "") // LASTED and CUT may be empty
	began, err := time.Parse(time.RFC3339, f[0])
	pid, notPID := strconv.Atoi(f[3])
	if err = errors.Join(err, notPID); err != nil {
		return nil, fmt.Errorf("not a ledger's row: %w", err)
	}
	start := line{in: in, n: in.lines, at: began, pid: pid, msg: "run began", attrs: map[string]string{"backoff": f[1], "waited": f[2]}}
	lasted, err := time.ParseDuration(f[4])
	if err != nil {
		return []*line{&start}, nil
	}
	end := start
	end.at, end.msg, end.status = began.Add(lasted), "run ended", f[5]
	end.attrs = map[string]string{"end": f[5], "lasted": f[4], "cut": strings.TrimSpace(strings.Join(f[6:], " "))}
	return []*line{&start, &end}, nil
}
