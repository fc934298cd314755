// Package timeline lays the log lines of many programs side by side and finds out
// what caused what: who gave the order, which signal began which drain, which stop
// cut which session, who was started in whose place, and what no line explains.
//
// [Read] takes any number of inputs, as they are: the logs of servers and
// supervisors, of systemd, the kernel, containers and Kubernetes, in text or JSON,
// several formats in one input, compressed or not. An event is a line about a start,
// a stop, a failure or a cut. A chain is all that follows from one event, its root,
// which nothing in the logs explains. Two chains are independent, even if they
// overlap in time. The writers of [Timeline] show chains as text, as a page, as
// JSON for machines, and as a trace.
//
// # What it understands
//
// A format says how to take a line apart, a rule what a message means. The tables
// of both are part of the package, and [LoadTables] reads a user's own. Besides,
// these attributes count in lines of JSON and logfmt:
//
//	pid      the process that writes the line
//	who      its name; instances that follow each other share it
//	session  the one that it serves. If all lines of a process have the same, the
//	         process is the session's own, such as a CLI
//	signal   that it got; with of or child, or in a session of another process,
//	         that it sent
//	of       the name of the process that the line is about, if it is another
//	child    and its pid
//	kind, attempt  which of a session's streams it is
//
// About sessions these messages are understood:
//
//	typed, asked, ... began            a question (the last with "call")
//	connected, reconnected             the session is there
//	answered, recovered                a question has its answer
//	cut, client gone, ... interrupted  a stream ended before its end
//	goodbye, response ended            a stream ended well
//	leaving                            the session ends, as its user wants
//
// A process that writes its first line of JSON follows the one of its name that
// was stopped, failed or exited before.
//
// # Time
//
// A line without a time belongs to the line before it. A time without a zone has
// the zone of its input: the one that the same message or process has elsewhere,
// else the one that Options names, else UTC; a guess is said.
//
// Process ids tell processes apart, so the inputs are of one machine. If lines name
// a container too, the same pid in two containers is two processes.
package timeline

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// An Input is a log. Its reader need not be one of a file.
type Input struct {
	Name string // in reports, and of a process that has no other
	io.Reader
}

// A Timeline is what the inputs tell, for its writers. Of events that cost nothing
// the oldest are forgotten if there are more than 5,000 in all.
type Timeline struct {
	// Unread is what could not be read: "input:line: why", or "input: why" for the rest
	// of an input. It has the first 100, and then how many more there are.
	Unread []error

	lines     int       // that could be read
	chains    []*chain  // in the order of their roots
	unread    int       // lines
	forgotten int       // events
	until     time.Time // of the last line

	formats map[string]int // of the first lines of each input
	samples []string       // lines that looked promising
	guesses []string       // about clocks

	spare int  // events that may still be kept
	full  bool // nothing more can be forgotten
}

// A chain is all that follows from one event, its root.
type chain struct {
	Events     []*event      // in the order of their times; the first is the root
	Cuts       int           // how often a session was cut; its streams of the same second are one
	Sessions   []string      // that were cut
	Unanswered time.Duration // in which one of them, once cut, was gone or waited for its answer. From another chain's cut on it is that chain's
	Failures   int           // processes that failed
	Lost       int           // connections that are no session's
	Open       bool          // a session still waited at the end of the lines
	Until      time.Time     // its last event, or when no session that it cut waited any more

	forgotten bool

	owed    int       // sessions that were cut and had no answer since
	waiting int       // of these, those whose time counts
	since   time.Time // since when waiting is not 0

	waits [][2]time.Time // what Unanswered is made of, the first 200
}

// costly reports whether a session was cut or a process failed. Other chains are
// orderly stops.
func (c *chain) costly() bool { return c.Cuts > 0 || c.Failures > 0 || c.Lost > 0 }

// An event is a line that has a place in a chain.
type event struct {
	Time    time.Time
	Until   time.Time // the end of a drain, a phase or a wait, if it is known
	Process *process
	Kind    eventKind
	Text    string // for people
	Session string
	Times   int      // how often the line was there in a row
	Attrs   []string // of the line, as key=value
	Input   string   // where the line is
	Line    int

	Causes []link // none for a root; the first is the one whose chain it is in

	spans    []place // further lines that tell it
	seen     time.Time
	noTime   bool   // no clock has told when it was
	borrowed bool   // its time is that of a line before
	about    string // the process that an order was for
	signal   string
	rule     string // of the table
	harm     bool   // an exit that was bad
	counted  bool   // an order whose victim counts as failed
	chain    *chain
	origin   *event // the first of the stop that it belongs to
}

// A place is a line of an input.
type place struct {
	Input string `json:"input"`
	Line  int    `json:"line"`
}

// A link is a cause of an event.
type link struct {
	*event
	Rule     string // why it is the cause
	Evidence bool   // a pid, a unit, a session or a name ties them; else only time does
}

// An eventKind is what an event is.
type eventKind string

// The kinds, in the order in which one usually leads to the next.
const (
	kindOrder     eventKind = "order"  // another process is to stop
	kindSignal    eventKind = "signal" // received
	kindStop      eventKind = "stop"   // for another reason
	kindFailure   eventKind = "failure"
	kindDrain     eventKind = "drain"
	kindPhase     eventKind = "phase"
	kindStep      eventKind = "step"
	kindCut       eventKind = "cut"
	kindExit      eventKind = "exit"
	kindWait      eventKind = "wait"
	kindStart     eventKind = "start"
	kindReconnect eventKind = "reconnect"
	kindAnswer    eventKind = "answer"
	kindListen    eventKind = "listen" // no event: it says who has an address
)

var kinds = []eventKind{kindOrder, kindSignal, kindStop, kindFailure, kindDrain, kindPhase, kindStep, kindCut, kindExit, kindWait, kindStart, kindReconnect, kindAnswer, kindListen}

// Options say how to read. The zero value reads with the tables of the package.
type Options struct {
	Zone   *time.Location // of times without one; nil means to learn it
	Tables *Tables        // read before those of the package

	full bool // takes each line apart
}

// Read reads the inputs with the zero [Options].
func Read(inputs ...Input) *Timeline {
	t, err := Options{}.Read(inputs...)
	if err != nil {
		panic(err) // the package's own tables, which its tests try
	}
	return t
}

// Read reads the inputs to their ends, each in a separate goroutine, and takes
// the lines in the order of their times; those of one process in the order in
// which they stand. Lines that are out of order by more than 1,000 lines of their
// input stay so. It needs memory for these and for what it finds, however long the
// inputs are. Inputs that begin as gzip does are decompressed.
//
// What cannot be read is left out, and listed in Unread. The error is one of the
// Tables.
func (o Options) Read(inputs ...Input) (*Timeline, error) {
	tables, err := standard()
	if o.Tables != nil {
		tables, err = newTables(*o.Tables)
	}
	if err != nil {
		return nil, err
	}
	var ins []*input
	for i, in := range inputs {
		ins = append(ins, &input{Input: in, tables: tables, number: i, several: len(inputs) > 1, full: o.full,
			writers: newRecent[uint64, struct{}](1 << 14), keys: newRecent[string, time.Time](window)})
	}
	side(ins, (*input).open)
	learn(ins, o.Zone, time.Now())
	k := newLinker()
	merge(ins, k.take)
	k.t.account(ins)
	k.t.end()
	return k.t, nil
}

// side calls f for all inputs, side by side.
func side(ins []*input, f func(*input)) {
	var wg sync.WaitGroup
	for _, in := range ins {
		wg.Go(func() { f(in) })
	}
	wg.Wait()
}

// merge calls take with the lines of all inputs. It returns when all have ended.
func merge(ins []*input, take func(*line)) {
	type queue struct {
		lines chan []*line
		wait  []*line // in the order of their keys
		next  []*line // as they come
		done  bool
	}
	var live []*queue
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, in := range ins {
		q := &queue{lines: make(chan []*line, 4)}
		live = append(live, q)
		var batch []*line
		in.emit = func(l *line) {
			if batch = append(batch, l); len(batch) == 128 {
				q.lines <- batch
				batch = nil
			}
		}
		wg.Go(func() {
			in.read()
			q.lines <- batch
			close(q.lines)
		})
	}
	fill := func(q *queue) {
		for !q.done && len(q.wait) < window {
			if len(q.next) == 0 {
				more, ok := <-q.lines
				q.next, q.done = more, !ok
				continue
			}
			l := q.next[0]
			q.next = q.next[1:]
			i := len(q.wait)
			for i > 0 && q.wait[i-1].key.After(l.key) {
				i--
			}
			q.wait = slices.Insert(q.wait, i, l)
		}
	}
	for {
		for _, q := range live {
			fill(q)
		}
		live = slices.DeleteFunc(live, func(q *queue) bool { return len(q.wait) == 0 })
		if len(live) == 0 {
			return
		}
		q := slices.MinFunc(live, func(a, b *queue) int { return a.wait[0].key.Compare(b.wait[0].key) })
		take(q.wait[0])
		q.wait = q.wait[1:]
	}
}

// account adds what the inputs know about themselves.
func (t *Timeline) account(ins []*input) {
	t.formats = map[string]int{}
	for _, in := range ins {
		t.lines += in.told
		for _, err := range in.errs {
			t.lost(err)
		}
		for name, n := range in.formats {
			t.formats[name] += n
		}
		if in.clock.guess != "" {
			t.guesses = append(t.guesses, in.clock.guess)
		}
		if in.head != nil {
			t.until = later(t.until, in.head.at)
		}
		t.samples = append(t.samples, in.samples...)
	}
	t.samples = t.samples[:min(3, len(t.samples))]
	if more := t.unread - len(t.Unread); more > 0 {
		t.Unread = append(t.Unread, fmt.Errorf("and %d lines more", more))
	}
}
