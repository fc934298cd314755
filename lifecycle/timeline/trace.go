package timeline

import (
	"cmp"
	"iter"
	"regexp"
	"strings"
)

// A history is the last lines, for those without a time.
type history struct {
	lines [lookBack]struct {
		number int
		text   []byte
	}
	n int
}

func (h *history) add(number int, text []byte) {
	at := &h.lines[h.n%lookBack]
	at.number, at.text = number, append(at.text[:0], text[:min(len(text), 4096)]...)
	h.n++
}

// all returns the lines, the latest first.
func (h *history) all() iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for i := range min(h.n, lookBack) {
			if at := h.lines[(h.n-1-i)%lookBack]; !yield(at.number, string(at.text)) {
				return
			}
		}
	}
}

// before returns the latest line with a time, which may not have been taken apart.
func (in *input) before() *line {
	known := max(in.headN, in.looked)
	in.looked = in.lines - 1
	for n, text := range in.back.all() {
		if n <= known {
			break
		}
		if l, _, err := in.tables.parse(text); err == nil && l.stamped != "" {
			l.in, l.n = in, n
			l.at = in.clock.resolve(l.stamp)
			in.head, in.headN = l, n
			return l
		}
	}
	if in.head != nil && in.lines-in.headN <= lookBack {
		return in.head
	}
	return nil
}

// exception matches the last line of a Python or Java traceback.
var exception = regexp.MustCompile(`^(?:Caused by: )?((?:[a-zA-Z_]\w*\.)*(?:[A-Z]\w*)?(?:Error|Exception|Interrupt|Exit|Timeout|Warning|Lost)\b.*)`)

// traced reports whether a line that only its wrapper dates belongs to the crash
// that the lines before it tell of.
func (in *input) traced(l *line) bool {
	t := in.trace
	if t == nil || t.rule == nil || !l.bare || l.pid != t.pid && l.pid != 0 || l.who != t.who && l.who != "" || l.box != t.box || in.lines-t.n > lookBack {
		return false
	}
	c := *l
	if in.tables.classify(&c); c.about() || t.about() || c.kind != kindFailure && c.kind != nothing && c.role != detail {
		return false
	}
	in.more(&c)
	return true
}

// more notes what a further line tells of a crash.
func (in *input) more(l *line) {
	t := in.trace
	if m := exception.FindStringSubmatch(l.msg); m != nil {
		t.why = m[1]
	}
	if l.kind != nothing {
		t.spans = append(t.spans, l.n)
	}
}

// logged reports whether the line before is an error that a program has logged:
// a traceback after it is no crash.
func (in *input) logged() bool {
	for _, text := range in.back.all() {
		l, headed, err := in.tables.parse(text)
		return err == nil && headed && l.severity() > 0 && l.severity() != 3
	}
	return false
}

// thrown returns the error of a stack trace that ends here, as Node.js writes it.
func (in *input) thrown() string {
	for _, text := range in.back.all() {
		if m := exception.FindStringSubmatch(text); m != nil {
			return m[1]
		}
		if text != "" && text[0] != ' ' && text[0] != '\t' && text[0] != '}' {
			break
		}
	}
	return ""
}

// continues reports whether a line that belongs to the one before it is an event
// by itself; else it may tell more about that.
func (in *input) continues(l *line) bool {
	head := in.before()
	if head != nil {
		l.at, l.stamp, l.pid, l.who, l.program, l.box, l.host, l.named = head.at, head.stamp, head.pid, head.who, head.program, head.box, head.host, head.named
		l.session = head.session
		if head.attrs != nil && head.session == "" {
			l.session = head.attrs["session"]
		}
	}
	session := l.session
	in.tables.classify(l)
	if l.session == "" {
		l.session = session
	}
	if in.trace != nil && (l.kind == kindFailure || l.kind == nothing || l.role == detail) {
		in.more(l)
		return false
	}
	if l.loose = true; l.kind == kindExit && l.why == "" {
		l.why = in.thrown()
	}
	return l.rule == nil || l.rule.Name != "Python: traceback" || !in.logged()
}

// keep emits a line, a failure only when it is known what follows it.
func (in *input) keep(l *line) {
	in.flush()
	if l.kind == kindFailure || l.kind == kindCut && l.rule != nil {
		in.trace = l
		return
	}
	if l.stamped == "" && l.rule != nil && !l.loose {
		in.held = l
		return
	}
	in.send(l)
}

func (in *input) flush() {
	for _, l := range []*line{in.held, in.trace} {
		if l != nil {
			in.send(l)
		}
	}
	in.held, in.trace = nil, nil
}

// copied reports whether a line is a copy, with a clock, of the one before it.
func (in *input) copied(l *line) bool {
	h := cmp.Or(in.held, in.trace)
	if h == nil || h.stamped != "" || h.loose || l.stamped == "" || l.n-h.n > 2 || strings.TrimSpace(l.msg) != h.msg {
		return false
	}
	h.at, h.stamp, h.stamped = l.at, l.stamp, l.stamped
	h.spans = append(h.spans, l.n)
	in.flush()
	return true
}
