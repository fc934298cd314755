package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// A line is a log line of any process of the replay.
type line struct {
	Time    time.Time
	PID     int
	Who     string // user, supervisor, gateway or cli
	Msg     string
	Session string
	Kind    string // of a response: session or answer
	Attempt string
	Signal  string
	Of      string // what the line is about: cli, gateway or supervisor
	Status  int
	Asked   bool // to stop
	Error   string

	text string
}

// A journal collects the lines of all processes of one world, as they come.
type journal struct {
	echo io.Writer // nil: nowhere

	mu    sync.Mutex
	lines []line
	more  chan struct{} // closed, and replaced, when a line has come
}

func newJournal(echo io.Writer) *journal { return &journal{echo: echo, more: make(chan struct{})} }

// read takes lines until the input ends: when all processes that hold it have.
func (j *journal) read(in io.Reader) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		j.add(s.Text())
	}
	return s.Err()
}

// Write takes a line from a slog handler in this process.
func (j *journal) Write(text []byte) (int, error) {
	j.add(string(text[:len(text)-1]))
	return len(text), nil
}

func (j *journal) add(text string) {
	l := line{text: text}
	isJSON := json.Unmarshal([]byte(text), &l) == nil
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.lines); !isJSON && n > 0 { // a Go runtime's last words: kept in their place
		l = line{Time: j.lines[n-1].Time, text: text}
	}
	j.lines = append(j.lines, l)
	close(j.more)
	j.more = make(chan struct{})
	if j.echo != nil {
		fmt.Fprintln(j.echo, "  ", text)
	}
}

// all returns the lines in the order of their times.
func (j *journal) all() []line {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Clone(j.lines)
	slices.SortStableFunc(all, func(a, b line) int { return a.Time.Compare(b.Time) })
	return all
}

// now reports whether the lines so far satisfy have.
func (j *journal) now(have func([]line) bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return have(j.lines)
}

// wait returns once the lines so far satisfy have.
func (j *journal) wait(ctx context.Context, have func([]line) bool) error {
	for {
		j.mu.Lock()
		ok, more := have(j.lines), j.more
		j.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// text returns the lines as they were written.
func (j *journal) text() string {
	var b strings.Builder
	for _, l := range j.all() {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}
