package timeline

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// An input reads one Input, line by line.
type input struct {
	Input
	tables  *tables
	number  int  // among the inputs
	several bool // inputs
	full    bool // takes apart each line, also those that the scan finds dull

	r       *bufio.Reader
	text    []byte  // a line that is longer than r's buffer
	back    history // the lines before
	head    *line   // the latest line with a time
	headN   int     // its number
	looked  int     // up to this line no other has a time
	lines   int     // read
	told    int     // of these, not blank
	clock   clock
	seen    []sight         // of the first lines
	nested  []time.Duration // a time without zone, less the one with a zone in the same line
	ahead   []time.Duration // of labels of TAI64N before the times behind them
	formats map[string]int  // of the first lines

	writers *recent[uint64, struct{}]  // whose lines were taken apart
	keys    *recent[string, time.Time] // of each process's latest line
	trace   *line                      // waits for what follows it: a crash
	held    *line                      // has no clock, and waits for a copy that has one
	ledger  bool                       // what follows are the rows of a ledger's table
	samples []string                   // lines with a rule's literal that no rule matches
	errs    []error
	emit    func(*line)
}

const (
	window   = 1000    // lines of an input that may be out of order
	lineSize = 1 << 20 // longer ones are left out
	lookBack = 200     // lines, to the one with a time
	document = 16 << 20
)

// open prepares to read, and looks at the first lines.
func (in *input) open() {
	in.r = bufio.NewReaderSize(in.Reader, prefix)
	if magic, _ := in.r.Peek(2); string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(in.r)
		if err != nil {
			in.lost(err)
			in.r = bufio.NewReader(strings.NewReader(""))
			return
		}
		in.r = bufio.NewReaderSize(z, prefix)
	}
	if bom, _ := in.r.Peek(3); string(bom) == "\xef\xbb\xbf" {
		in.r.Discard(3)
	}
	first, _ := in.r.Peek(prefix)
	if noText(first[:min(len(first), 4096)]) {
		in.lost(errors.New("this is not text: unpack it, or write it as text first, as journalctl -o json does"))
		in.r = bufio.NewReader(strings.NewReader(""))
		return
	}
	in.formats = map[string]int{}
	for n := 0; len(first) > 0 && n < sights; n++ {
		var text []byte
		text, first, _ = bytes.Cut(first, []byte("\n"))
		if n >= 200 && !in.tables.scan.hit(text) {
			continue
		}
		in.sight(text)
	}
}

// noText reports whether more than a tenth of the bytes are none of a text. Zeros are
// not counted: a log that was truncated while it was open begins with many.
func noText(first []byte) bool {
	all, bad := 0, 0
	for len(first) > 0 {
		r, size := utf8.DecodeRune(first)
		if r == utf8.RuneError && size == 1 || r < ' ' && !strings.ContainsRune("\x00\t\n\r\x1b", r) {
			bad++
		}
		if r != 0 {
			all++
		}
		first = first[size:]
	}
	return all > 64 && bad*10 > all
}

func (in *input) sight(text []byte) {
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return
	}
	l, headed, err := in.tables.parse(string(text))
	if err != nil || !headed {
		in.formats["none"]++
		return
	}
	in.formats[l.format]++
	if l.stamped != "" {
		l.settle()
		s := sight{stamp: l.stamp, pid: l.pid, msg: l.msg}
		if in.tables.scan.hit(text) {
			in.tables.classify(l)
			s.child, s.kind = l.child, l.kind
		}
		in.seen = append(in.seen, s)
	}
	in.ahead = append(in.ahead, l.ahead...)
	if l.apart != 0 || l.twice {
		in.nested = append(in.nested, l.apart)
	}
}

func (in *input) lost(err error) { in.errs = append(in.errs, fmt.Errorf("%s: %w", in.Name, err)) }
func (in *input) unread(err error) {
	in.errs = append(in.errs, fmt.Errorf("%s:%d: %w", in.Name, in.lines, err))
}

// read reads the input to its end.
func (in *input) read() {
	for {
		text, err := in.line()
		in.feed(text)
		if err != nil {
			if err != io.EOF {
				in.lost(err)
			}
			break
		}
	}
	in.flush()
	in.before() // for the end of the timeline
}

// line returns the next line, and with the last one an error.
func (in *input) line() ([]byte, error) {
	in.lines++
	part, err := in.r.ReadSlice('\n')
	if err == nil || err != bufio.ErrBufferFull {
		return part, err
	}
	in.text = append(in.text[:0], part...)
	for err == bufio.ErrBufferFull {
		part, err = in.r.ReadSlice('\n')
		if len(in.text) <= lineSize {
			in.text = append(in.text, part...)
		}
	}
	if len(in.text) > lineSize {
		in.unread(fmt.Errorf("longer than %d bytes", lineSize))
		return nil, err
	}
	return in.text, err
}

// feed takes the next line.
func (in *input) feed(text []byte) {
	text = trim(text)
	if len(text) == 0 {
		return
	}
	in.told++
	if len(text) == 1 && text[0] == '{' {
		in.document()
		return
	}
	hit := in.tables.scan.hit(text)
	if !hit && !in.fresh(text) && (in.trace == nil || in.lines-in.trace.n > lookBack) && !in.ledger && !in.clock.dateless {
		if in.full {
			in.dull(text)
		}
		in.back.add(in.lines, text)
		return
	}
	in.understand(string(text), hit)
	in.back.add(in.lines, text)
}

// trim cuts white space, if there is any.
func trim(text []byte) []byte {
	for len(text) > 0 && text[len(text)-1] <= ' ' {
		text = text[:len(text)-1]
	}
	if len(text) > 0 && text[0] <= ' ' && text[0] != '\t' && text[0] != ' ' {
		return bytes.TrimSpace(text)
	}
	return text
}

// dull takes a line apart that the scan would spare: it must not be an event.
func (in *input) dull(text []byte) {
	if l, _, err := in.tables.parse(string(text)); err == nil {
		l.in, l.n = in, in.lines
		if l.stamped != "" {
			l.at = in.clock.resolve(l.stamp)
			in.head, in.headN = l, in.lines
		}
		c := *l // as the head is not classified when it is found by its effects
		c.attrs = maps.Clone(l.attrs)
		if in.tables.classify(&c); c.kind != nothing {
			in.understand(string(text), true)
		}
	}
}

// writerKeys stand before what tells writers apart in lines of JSON.
var writerKeys = [][]byte{[]byte(`"pid":`), []byte(`"_PID":`), []byte(`"who":`), []byte(`"session":`), []byte(`session\":`)}

var seed = maphash.MakeSeed()

// fresh reports whether a line of JSON is the first of its process, or of its
// process about a session.
func (in *input) fresh(text []byte) bool {
	if text[0] != '{' {
		return false
	}
	var h maphash.Hash
	h.SetSeed(seed)
	found := false
	for i, key := range writerKeys {
		at := bytes.Index(text, key)
		if at < 0 {
			continue
		}
		v := text[at+len(key):]
		end := bytes.IndexAny(v, ",}")
		if end < 0 {
			end = len(v)
		}
		h.WriteByte(byte(i))
		h.Write(v[:end])
		found = true
	}
	if !found {
		return false
	}
	key := h.Sum64()
	if _, known := in.writers.get(key); known {
		return false
	}
	in.writers.put(key, struct{}{})
	return true
}

// understand takes a line apart, finds out what it says, and emits it.
func (in *input) understand(text string, hit bool) {
	if strings.HasPrefix(text, "BEGAN ") && strings.Contains(text, "LASTED") {
		in.flush()
		in.ledger = true
		return
	}
	if in.ledger && text[0] != '{' {
		in.runs(text)
		return
	}
	l, headed, err := in.tables.parse(text)
	if err != nil {
		in.unread(err)
		at := strings.LastIndex(text, `{"time":"`)
		if at <= 0 {
			return
		}
		if l, headed, err = in.tables.parse(text[at:]); err != nil { // the end of a process tore the line before
			return
		}
	}
	in.ledger = in.ledger && text[0] != '{'
	l.in, l.n = in, in.lines
	if l.stamped != "" {
		in.head, in.headN = l, in.lines
		l.at = in.clock.resolve(l.stamp)
	}
	if headed {
		if in.copied(l) {
			return
		}
		if in.timed(l); in.traced(l) {
			return
		}
		in.flush()
		in.tables.classify(l)
		if l.rule != nil && l.rule.Name == "Python: traceback" && in.logged() {
			return
		}
	} else if !in.continues(l) {
		in.told-- // it is part of another
		return
	}
	in.sample(l, text, hit)
	if l.kind != nothing || l.attrs != nil {
		in.keep(l)
	}
}

// timed gives a line without a time that of the line before.
func (in *input) timed(l *line) {
	if l.stamped == "" {
		if head := in.before(); head != nil {
			l.at, l.stamp = head.at, head.stamp
		}
	}
}

// sample keeps lines that looked promising, in case that nothing is understood.
func (in *input) sample(l *line, text string, hit bool) {
	if hit && l.kind == nothing && len(in.samples) < 3 {
		in.samples = append(in.samples, short(text, 200))
	}
}

// send gives a line its place among those of all inputs: its time, but a little
// earlier if it is a cause whose effects may be logged before it, and not before
// the line before it of the same process.
func (in *input) send(l *line) {
	l.key = l.at
	switch {
	case l.at.IsZero():
	case !l.loose && l.rule != nil && l.rule.Early != "":
		l.key = l.at.Add(-l.rule.early)
	case !l.loose && (l.kind == kindOrder && l.rule != nil || l.kind == kindExit && abrupt(l.signal)):
		l.key = l.at.Add(-early)
	case l.kind == kindCut && l.rule != nil && l.coarse && in.several:
		l.key = l.at.Add(time.Second - 1)
	}
	who := in.process(l)
	if before, ok := in.keys.get(who); ok && before.After(l.key) {
		l.key = before
	}
	in.keys.put(who, l.key)
	in.emit(l)
}

// abrupt signals end a process before it can say so.
func abrupt(signal string) bool {
	return signal == "SIGKILL" || signal == "SIGSEGV" || signal == "SIGABRT" || signal == "SIGBUS"
}

// process returns the key of the process that wrote a line.
func (in *input) process(l *line) string {
	if l.pid > 1 {
		return pidKey(l.box, l.pid)
	}
	return strconv.Itoa(in.number) + " " + l.box + " " + l.who
}

func pidKey(box string, pid int) string { return box + "pid " + strconv.Itoa(pid) }
