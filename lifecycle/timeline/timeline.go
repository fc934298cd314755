// Package timeline lays the log lines of many processes side by side and finds
// out what caused what: which signal began which drain, which stop cut which
// session, who was started in whose place, and when the session was back.
//
// [Read] takes any number of inputs: the JSON lines of [log/slog], the output of
// journalctl -o json, and the tables of restart.Ledger. A [Timeline] has a
// [Chain] for each root, an event that nothing in the logs explains. Two chains
// are independent, even where they overlap in time. [Timeline.WriteText] writes
// them as tables for people, [Timeline.WriteHTML] as one page that needs nothing
// else.
//
// # What it understands
//
// The lines that this library writes, those of systemd about its units, and in
// anybody's lines these attributes:
//
//	pid      the process that writes the line
//	who      its name; instances that follow each other share it
//	session  whom it serves. A process whose every line has the same is the
//	         session's own, such as a CLI
//	signal   that it got; with of or child, or in a session of another process,
//	         that it sent
//	of       the name of the process that the line is about, where it is another
//	child    and its pid
//	kind, attempt  which of a session's streams it is
//
// Without pid and who a process is its input, and has that name; from a journal
// both are known. About sessions it understands these messages:
//
//	typed, asked, ... began            a question (the last with "call")
//	connected, reconnected             the session is there
//	answered, recovered                a question has its answer
//	cut, client gone, ... interrupted  a stream ended before its end
//	goodbye, response ended            a stream ended well
//	leaving                            the session ends, as its user wants
//
// A process that writes its first line follows the one of its name that was
// stopped, failed or exited before. A crash of a Go program is read too, with its
// trace.
//
// Process ids tell processes apart, so the inputs are of one machine; a process
// that is PID 1, as in a container, is told apart by its name and input.
package timeline

import (
	"io"
	"strconv"
	"time"
)

// An Input is a log. Its reader need not be one of a file.
type Input struct {
	Name string // in reports, and of a process that has no other
	io.Reader
}

// A Timeline is what the inputs tell. Of events that cost nothing the oldest are
// forgotten where there are more than 5,000 in all.
type Timeline struct {
	Lines      int       // that could be read
	Chains     []*Chain  // in the order of their roots
	Unread     []error   // the first 100 lines that could not be read: "input:line: why", or "input: why" for its rest
	MoreUnread int       // further ones
	Forgotten  int       // events
	Until      time.Time // of the last line

	spare int  // events that may still be kept
	full  bool // nothing more can be forgotten
}

// A Chain is all that follows from one event, its root.
type Chain struct {
	Events     []*Event      // in the order of their times; the first is the root
	Cuts       int           // how often a session was cut; its streams of the same second are one
	Sessions   []string      // that were cut
	Unanswered time.Duration // in which one of them, once cut, was gone or waited for its answer. From another chain's cut on it is that chain's
	Failures   int           // processes that failed
	Open       bool          // a session still waited at the end of the lines
	Until      time.Time     // its last event, or when no session that it cut waited any more

	forgotten bool

	owed    int       // sessions that were cut and had no answer since
	waiting int       // of these, those whose time counts
	since   time.Time // since when waiting is not 0

	waits [][2]time.Time // what Unanswered is made of, the first 200
}

// Costly reports whether a session was cut or a process failed. Other chains are
// orderly stops.
func (c *Chain) Costly() bool { return c.Cuts > 0 || c.Failures > 0 }

// An Event is a line that has a place in a chain.
type Event struct {
	Time    time.Time
	Until   time.Time // the end of a drain, a phase or a wait, where it is known
	Process *Process
	Kind    Kind
	Text    string // for people
	Session string
	Times   int      // how often the line was there in a row
	Attrs   []string // of the line, as key=value
	Input   string   // where the line is
	Line    int

	Cause *Event // nil for a root
	Rule  string // why Cause is the cause

	chain  *Chain
	origin *Event // the first of the stop that it belongs to
}

// A Kind is what an event is.
type Kind string

// The kinds, in the order in which one usually leads to the next.
const (
	Order     Kind = "order"  // somebody else is to stop
	Signal    Kind = "signal" // received
	Stop      Kind = "stop"   // for another reason
	Failure   Kind = "failure"
	Drain     Kind = "drain"
	Phase     Kind = "phase"
	Step      Kind = "step"
	Cut       Kind = "cut"
	Exit      Kind = "exit"
	Wait      Kind = "wait"
	Start     Kind = "start"
	Reconnect Kind = "reconnect"
	Answer    Kind = "answer"
)

// A Process is one that wrote lines, or that lines are about.
type Process struct {
	Name    string
	PID     int    // 0 where it is not known
	Session string // whose own process it is; "" for a server

	first, last        time.Time // of its lines
	service            *service
	stop, drain, phase *Event // why it ends, and what it has come to
	latest             *Event // since then
	exit, started      *Event
	waiting            *Event       // while its start is put off: the end before it, or its latest wait
	retry              *Event       // its latest wait while it runs
	left               map[noun]int // what it has opened and not closed
	failed             bool
	named              bool // by itself
}

// Label is the name of the process, with what tells it from others of that name.
func (p *Process) Label() string {
	switch {
	case p.Session != "" && p.Session != p.Name:
		return p.Name + " " + p.Session
	case p.PID > 1:
		return p.Name + " " + strconv.Itoa(p.PID)
	}
	return p.Name
}

// Read reads the inputs to their ends, side by side, and takes the lines in the
// order of their times; those of one process in the order in which they stand.
// Lines that are out of order by more than 1,000 lines of their input stay so.
// It needs memory for these and for what it finds, however long the inputs are.
//
// What cannot be read is left out, and listed in Unread.
func Read(inputs ...Input) *Timeline {
	k := newLinker()
	merge(inputs, k.take, k.t.lost)
	k.t.end()
	return k.t
}
