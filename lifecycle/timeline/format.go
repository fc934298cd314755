package timeline

import (
	"cmp"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A format says how to take a line apart. docs/timeline.md has the fields.
type format struct {
	Name    string `json:"name"`
	Match   string `json:"match"`
	Who     string `json:"who,omitempty"`
	Example string `json:"example"`         // a line, tried when the format is compiled
	Gives   string `json:"gives,omitempty"` // what must come out of it: "pid=18 level=INFO msg=Starting"

	re     *regexp.Regexp
	groups []string
	first  [256]bool // bytes with which it can begin
}

const levelPattern = `(?i:trace|debug|info|information|inf|notice|warn|warning|wrn|err|error|crit|critical|alert|emerg|fatal|severe)`

var macros = strings.NewReplacer("{iso}", "(?P<time>"+isoPattern+")", "{level}", "(?P<level>"+levelPattern+")")

// compile makes a format ready, and tries its example.
func (f *format) compile() error {
	if f.Match == "" {
		return fmt.Errorf("timeline: format %s: match: empty; set the expression of its lines", f.Name)
	}
	re, err := regexp.Compile(`^(?:` + macros.Replace(f.Match) + `)$`)
	if err != nil {
		return fmt.Errorf("timeline: format %s: %w", f.Name, err)
	}
	f.re, f.groups = re, re.SubexpNames()
	for i, g := range f.groups {
		f.groups[i] = strings.TrimRight(g, "23")
		switch f.groups[i] {
		case "", "time", "pid", "level", "who", "host", "box", "msg", "rest", "of", "reason":
		default:
			return fmt.Errorf("timeline: format %s: a group named %s", f.Name, g)
		}
	}
	f.begins()
	l := new(line)
	if rest := f.read(l, f.Example); rest == nil {
		return fmt.Errorf("timeline: format %s does not match its example", f.Name)
	} else if got := l.gives(*rest); f.Gives != "" && got != f.Gives {
		return fmt.Errorf("timeline: format %s: its example gives %q, not %q", f.Name, got, f.Gives)
	}
	return nil
}

// begins finds the bytes that can begin a line of the format, so that most of
// the lines of others are turned away without the expression.
func (f *format) begins() {
	re, _ := syntax.Parse(f.re.String(), syntax.Perl) // no error, as it has compiled
	prog, _ := syntax.Compile(re.Simplify())
	seen := make([]bool, len(prog.Inst))
	var walk func(at uint32)
	walk = func(at uint32) {
		if seen[at] {
			return
		}
		seen[at] = true
		switch i := &prog.Inst[at]; i.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			walk(i.Out)
			walk(i.Arg)
		case syntax.InstCapture, syntax.InstEmptyWidth, syntax.InstNop:
			walk(i.Out)
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			for b := range f.first { // a byte of a longer rune may be any
				f.first[b] = f.first[b] || b >= utf8.RuneSelf || i.MatchRune(rune(b))
			}
		}
	}
	walk(uint32(prog.Start))
}

// gives says what a format has found, for its example.
func (l *line) gives(rest string) string {
	return strings.TrimPrefix(say("", " at %s", l.stamped, " pid=%s", strings.TrimPrefix(strconv.Itoa(l.pid), "0"), " who=%s", l.who, " box=%s", l.box,
		" of=%s", l.of, " level=%s", l.level, " msg=%s", l.msg, " rest=%s", rest), " ")
}

// read fills in l from a line of the format. It returns what is to be read again,
// empty if nothing is, and nil if the line is of another format.
func (f *format) read(l *line, text string) *string {
	if text == "" || !f.first[text[0]] {
		return nil
	}
	at := f.re.FindStringSubmatchIndex(text)
	if at == nil {
		return nil
	}
	var found line
	rest := ""
	for i, name := range f.groups {
		if name == "" || at[2*i] < 0 {
			continue
		}
		switch v := text[at[2*i]:at[2*i+1]]; name {
		case "time":
			if found.stamped != "" {
				break
			}
			st, ok := parseStamp(v)
			if !ok {
				return nil
			}
			found.stamped, found.stamp = v, st
		case "pid":
			found.pid, _ = strconv.Atoi(v)
		case "level":
			found.level = cmp.Or(found.level, v)
		case "who":
			found.who = cmp.Or(found.who, v)
		case "host":
			found.host = v
		case "box":
			found.box = cmp.Or(found.box, v)
		case "of":
			found.of = v
		case "reason":
			found.reason = v
		case "msg":
			found.msg = cmp.Or(found.msg, v)
		case "rest":
			rest = cmp.Or(rest, v)
		}
	}
	l.adopt(&found, f)
	return &rest
}

// adopt takes over what a format has found within what others have found around
// it. The inner one knows better; but a time without a zone is not better than
// one with it.
func (l *line) adopt(in *line, f *format) {
	if in.stamped != "" && l.stamped != "" && in.noZone != l.noZone && !in.noDate && !in.noYear && !l.noYear && !l.noDate {
		l.twice = true
		if l.apart = in.Sub(l.Time); l.noZone {
			l.apart = -l.apart
		}
	}
	if l.tai && in.stamped != "" && !in.tai && !in.noZone && !in.coarse {
		l.ahead = append(l.ahead, l.Sub(in.Time))
	}
	if in.stamped != "" && (l.stamped == "" || !in.noZone && !(in.coarse && !l.coarse)) {
		l.stamped, l.stamp = in.stamped, in.stamp
	}
	if in.pid > 0 {
		l.pid = in.pid
	}
	l.named = l.named || in.who != "" || in.box != ""
	l.who = cmp.Or(in.who, l.who)
	if l.who == "" || in.who == "" && l.who == l.box {
		l.who = cmp.Or(f.Who, l.who)
	}
	l.program = cmp.Or(f.Who, in.who, l.program)
	l.host, l.box, l.of = cmp.Or(in.host, l.host), cmp.Or(in.box, l.box), cmp.Or(in.of, l.of)
	l.level, l.msg, l.reason = cmp.Or(in.level, l.level), cmp.Or(in.msg, l.msg), cmp.Or(in.reason, l.reason)
	l.format = f.Name
}
