package stoptest

import (
	"bytes"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle/timeline"
)

// notes are what the engine did and saw in a life, as lines that timeline understands.
type notes struct {
	mu  sync.Mutex
	out bytes.Buffer
}

// about notes what the engine did to the program, or saw of it.
func (l *life) about(msg string, args ...any) {
	args = append(args, "pid", os.Getpid(), "who", "stoptest", "of", l.proc.name, "child", l.proc.program.Pid)
	l.notes.add(msg, args)
}

func (n *notes) add(msg string, args []any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	slog.New(slog.NewJSONHandler(&n.out, nil)).Info(msg, args...)
}

// An output is what one process wrote.
type output struct {
	name string
	text []byte
}

// logs returns what the engine and the program wrote. Each line of the program has the
// time at which it was read, as docker logs -t prints it.
func (l *life) logs() []output {
	l.notes.mu.Lock()
	defer l.notes.mu.Unlock()
	var b bytes.Buffer
	for _, line := range l.proc.said(time.Time{}) {
		b.WriteString(line.at.UTC().Format(time.RFC3339Nano) + " " + line.text + "\n")
	}
	return []output{{"stoptest", bytes.Clone(l.notes.out.Bytes())}, {l.proc.name, b.Bytes()}}
}

// read reads logs as a timeline.
func read(logs []output) *timeline.Timeline {
	var in []timeline.Input
	for _, l := range logs {
		in = append(in, timeline.Input{Name: l.name, Reader: bytes.NewReader(l.text)})
	}
	return timeline.Read(in...)
}
