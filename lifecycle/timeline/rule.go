package timeline

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A rule says what a message of a program means. docs/timeline.md has the fields.
type rule struct {
	Name    string            `json:"name"`
	From    string            `json:"from,omitempty"`
	Has     string            `json:"has"`
	Match   string            `json:"match"`
	Kind    eventKind         `json:"kind"`
	Level   string            `json:"level,omitempty"`
	Set     map[string]string `json:"set,omitempty"`
	Early   string            `json:"early,omitempty"`
	Example string            `json:"example"`         // a line, tried when the rule is compiled
	Gives   string            `json:"gives,omitempty"` // what must come out of it: "child=21 signal=SIGKILL"

	re    *regexp.Regexp
	from  []string
	has   []string // Has, in lower case
	early time.Duration
}

// The roles of the process that a rule is about.
const (
	worker = "worker" // one of several, of a parent
	sole   = "sole"   // there is one at a time: a start tells of the end before it
	reload = "reload" // the signal does not end the process
	asked  = "asked"  // an end that counts only if it was ordered: a job ends too
	detail = "detail" // adds to an earlier event, and is none by itself
)

// compile makes a rule ready. Its example is tried by try.
func (r *rule) compile() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("timeline: rule %s: "+format, append([]any{r.Name}, args...)...)
	}
	r.has = strings.Split(strings.ToLower(r.Has), "|")
	for _, h := range r.has {
		if len(h) < gram+1 || strings.Trim(h, "abcdefghijklmnopqrstuvwxyz0123456789 .,:;()[]=!_-") != "" {
			return fail("has: %q is not five letters, digits, spaces or .,:;()[]=!_- or more", h)
		}
	}
	if !slices.Contains(kinds, r.Kind) {
		return fail("kind: %q is none of %v", r.Kind, kinds)
	}
	if !slices.Contains([]string{"", "info", "warn", "error"}, r.Level) {
		return fail("level: %q is none of info, warn and error", r.Level)
	}
	if r.Early != "" {
		d, err := time.ParseDuration(r.Early)
		if err != nil || d < 0 || d > time.Minute {
			return fail("early: %q is not a duration from 0 to 1m", r.Early)
		}
		r.early = d
	}
	re, err := regexp.Compile(r.Match)
	if err != nil {
		return fail("%w", err)
	}
	for _, name := range slices.Concat(re.SubexpNames(), slices.Collect(maps.Keys(r.Set))) {
		if name != "" && !new(line).set(name, "") {
			return fail("there is no field %s", name)
		}
	}
	r.re, r.from = re, strings.Fields(r.From)
	return nil
}

// try tells whether a rule finds itself in its example.
func (t *tables) try(r *rule) error {
	l, _, err := t.parse(r.Example)
	if err == nil {
		t.classify(l)
		switch {
		case l.rule != r:
			err = fmt.Errorf("its example %q is not recognized: rule %q, kind %q, of %q", r.Example, l.ruleName(), l.kind, l.program)
		case r.Gives != "" && l.gained() != r.Gives:
			err = fmt.Errorf("its example gives %q, not %q", l.gained(), r.Gives)
		case !t.scan.hit([]byte(r.Example)):
			err = errors.New("the scan takes its example for a dull line")
		}
	}
	if err != nil {
		return fmt.Errorf("timeline: rule %s: %w", r.Name, err)
	}
	return nil
}

func (l *line) ruleName() string {
	if l.rule == nil {
		return ""
	}
	return l.rule.Name
}

// gained says what a rule has found, for its example.
func (l *line) gained() string {
	return strings.TrimPrefix(say("", " child=%s", strings.TrimPrefix(strconv.Itoa(l.child), "0"), " of=%s", l.of, " signal=%s", l.signal, " status=%s", l.status,
		" session=%s", l.session, " addr=%s", l.addr, " needs=%s", l.needs, " why=%s", l.why), " ")
}

// meant reports whether a rule is about lines such as l, whatever they say.
func (r *rule) meant(l *line) bool {
	if len(r.from) > 0 && !slices.ContainsFunc(r.from, func(f string) bool {
		return f == l.program || f == l.format || f == l.who || strings.HasPrefix(l.program, f+"-") || strings.HasPrefix(l.who, f+"-")
	}) {
		return false
	}
	have := l.severity()
	return have == 0 || have >= map[string]int{"": 2, "info": 3, "warn": 4, "error": 5}[r.Level]
}

// texts are the fields that a rule fills in, but for the numbers.
var texts = map[string]func(*line) *string{
	"of": func(l *line) *string { return &l.of }, "who": func(l *line) *string { return &l.who }, "signal": func(l *line) *string { return &l.signal },
	"status": func(l *line) *string { return &l.status }, "session": func(l *line) *string { return &l.session }, "why": func(l *line) *string { return &l.why },
	"addr": func(l *line) *string { return &l.addr }, "needs": func(l *line) *string { return &l.needs },
	"role": func(l *line) *string { return &l.role }, "text": func(l *line) *string { return &l.said },
}

// set fills in a rule's field. It returns false if there is none of that name.
func (l *line) set(name, v string) bool {
	name = strings.TrimRight(name, "23") // a second and a third group for it
	switch field := texts[name]; {
	case name == "child":
		l.child, _ = strconv.Atoi(v)
	case name == "pid":
		l.pid, _ = strconv.Atoi(v)
	case field != nil:
		*field(l) = v
	default:
		return false
	}
	return true
}

// apply fills in l from its message, if the rule matches it.
func (r *rule) apply(l *line) bool {
	at := r.re.FindStringSubmatch(l.msg)
	if at == nil {
		return false
	}
	for name, v := range r.Set {
		l.set(name, v)
	}
	for i, name := range r.re.SubexpNames() {
		if name != "" && at[i] != "" {
			l.set(name, at[i])
		}
	}
	if l.signal != "" {
		l.signal = signalName(l.signal)
	}
	if l.kind = r.Kind; l.kind == kindExit && l.signal == "" {
		n, _ := strconv.Atoi(l.status)
		l.signal = signalName(strconv.Itoa(n - 128)) // as shells and containers tell it
	}
	l.rule = r
	return true
}

// tables are the formats and rules of one reading.
type tables struct {
	formats []format
	rules   []rule
	scan    *scanner
}

// newTables compiles a user's tables, and puts them before those of the package.
func newTables(own Tables) (*tables, error) {
	std, err := standard()
	if err != nil {
		return nil, err
	}
	t, err := compiled(own)
	if err != nil {
		return nil, err
	}
	t.formats, t.rules = slices.Concat(t.formats, std.formats), slices.Concat(t.rules, std.rules)
	t.scan = newScanner(t.rules)
	for i := range own.rules { // those of the table are tried by a test
		if err := t.try(&t.rules[i]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// compiled returns a compiled copy of tables, with their scan.
func compiled(of Tables) (*tables, error) {
	t := &tables{formats: slices.Clone(of.formats), rules: slices.Clone(of.rules)}
	for i := range t.formats {
		if err := t.formats[i].compile(); err != nil {
			return nil, err
		}
	}
	for i := range t.rules {
		if err := t.rules[i].compile(); err != nil {
			return nil, err
		}
	}
	t.scan = newScanner(t.rules)
	return t, nil
}

// standard is the tables of the package, compiled once. Nothing changes them.
var standard = sync.OnceValues(func() (*tables, error) { return compiled(Tables{formats, ruleTable()}) })

// Tables are formats and rules that a user adds to those of the package. They are
// tried first. The zero value has none.
type Tables struct {
	formats []format
	rules   []rule
}

// LoadTables reads Tables from JSON, and tries the example of each. docs/timeline.md
// has the fields.
func LoadTables(r io.Reader) (*Tables, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	var own struct {
		Formats []format `json:"formats"`
		Rules   []rule   `json:"rules"`
	}
	if err := d.Decode(&own); err != nil {
		return nil, fmt.Errorf("timeline: rules: %w", err)
	}
	t := &Tables{own.Formats, own.Rules}
	if _, err := newTables(*t); err != nil {
		return nil, err
	}
	return t, nil
}

// severity orders levels: 0 for none, 2 debug, 3 info, 4 warn, 5 error.
func (l *line) severity() int {
	s := strings.ToLower(strings.TrimPrefix(l.level, "priority "))
	if n, err := strconv.Atoi(s); err == nil {
		switch {
		case strings.HasPrefix(l.level, "priority"):
			return [...]int{5, 5, 5, 5, 4, 3, 3, 2}[min(max(n, 0), 7)]
		case n >= 10: // pino, bunyan
			return min(n/10, 5)
		}
		return 0
	}
	switch cmp.Or(s, "none")[0] {
	case 't':
		return 1
	case 'd':
		return 2
	case 'i':
		return 3
	case 'w':
		return 4
	}
	switch s {
	case "e", "c", "f", "error", "err", "crit", "critical", "alert", "emerg", "fatal", "severe", "panic":
		return 5
	case "notice", "note", "log":
		return 3
	}
	return 0
}

var signalNumbers = map[string]string{
	"1": "HUP", "2": "INT", "3": "QUIT", "4": "ILL", "5": "TRAP", "6": "ABRT", "7": "BUS", "8": "FPE", "9": "KILL", "10": "USR1", "11": "SEGV",
	"12": "USR2", "13": "PIPE", "14": "ALRM", "15": "TERM", "17": "CHLD", "18": "CONT", "19": "STOP", "24": "XCPU", "25": "XFSZ", "28": "WINCH", "31": "SYS",
}

// signalName returns a signal as SIGTERM, or "" if s is none.
func signalName(s string) string {
	s = strings.TrimPrefix(strings.TrimSpace(s), "Signals.")
	low := strings.ToLower(s)
	if long, ok := signals[low]; ok {
		return long
	}
	short := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for number, name := range signalNumbers {
		if s == number || short == name {
			return "SIG" + name
		}
	}
	return ""
}
