package timeline

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A line is one of an input, understood as far as that is possible without the
// others.
type line struct {
	in  *input
	n   int
	at  time.Time // zero if there is no clock
	key time.Time // its place among the lines of all inputs
	msg string

	stamp          // as the line has it
	stamped string // "" if it has none

	format, level, host, box, reason string
	program                          string // as its format, or the line, names it
	named                            bool   // the line itself says who writes it

	pid, child       int
	who, of, session string
	signal           string // as SIGTERM
	status           string // of an exit: a number, or empty if a signal was the end
	why, addr, needs string
	said             string // by a rule, instead of msg
	role             string
	took             time.Duration
	systemd          bool // what systemd says about a unit
	attrs            map[string]string

	rule  *rule
	kind  eventKind
	spans []int // further lines that tell the same
	loose bool  // the line does not say who wrote it, or when
	bare  bool  // within its wrappers it is of no format

	apart time.Duration   // between the two times of the line, one of them without a zone
	twice bool            // there are two such
	ahead []time.Duration // of a label of TAI64N before the time behind it
}

// Longer values are cut, and further attributes left out.
const (
	longest = 300
	most    = 256
	shown   = 32 // kept with an event
)

var colours = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

// parse takes a line apart. headed is false if it does not begin as a line of any
// format does, and belongs to the one before it.
func (t *tables) parse(text string) (l *line, headed bool, err error) {
	if strings.Contains(text, "\x1b") {
		text = colours.ReplaceAllString(text, "")
	}
	l = new(line)
	rest := strings.TrimSpace(text)
	for depth := 0; depth < 5 && rest != ""; depth++ {
		next, found, bad := t.peel(l, rest)
		if bad != nil && depth == 0 {
			return nil, false, bad
		}
		if !found {
			l.msg, l.bare = rest, true
			break
		}
		if headed = true; next == "" {
			break
		}
		l.msg, rest = next, strings.TrimSpace(next)
	}
	if l.format == "Go, log" && l.level != "" {
		l.slogDefault()
	}
	return l, headed, nil
}

// slogDefault takes the attributes off a line of slog's default handler, which
// writes them behind the message.
func (l *line) slogDefault() {
	at := attribute.FindStringIndex(l.msg)
	if at == nil {
		return
	}
	in := &line{stamped: l.stamped}
	if in.logfmt("msg=x " + l.msg[at[0]+1:]) {
		l.msg, l.attrs = l.msg[:at[0]], in.attrs
	}
}

var attribute = regexp.MustCompile(` [a-zA-Z][\w.]*=`)

// peel takes off the outermost format.
func (t *tables) peel(l *line, text string) (rest string, found bool, err error) {
	if text[0] == '{' {
		m, err := object([]byte(text))
		if err == nil {
			rest, err = l.json(m)
		}
		return rest, err == nil, err
	}
	for i := range t.formats {
		if rest := t.formats[i].read(l, text); rest != nil {
			return *rest, true, nil
		}
	}
	return "", l.logfmt(text), nil
}

// classify finds out what a line says, by the rules and the words of this library.
func (t *tables) classify(l *line) {
	l.settle()
	if l.kind = l.own(); l.kind != nothing {
		return
	}
	t.match(l)
	if err := l.attrs["error"]; err != "" && l.kind == nothing && l.severity() == 5 { // what was lost stands there
		inner := *l
		inner.msg = err
		if t.match(&inner); inner.kind == kindCut {
			inner.msg = l.msg
			*l = inner
		}
	}
	if addr := cmp.Or(l.attrs["addr"], l.attrs["address"], l.attrs["listen"]); l.kind == nothing && addr != "" && listening.MatchString(l.msg) && port.MatchString(addr) {
		l.kind, l.addr = kindListen, addr
	}
	if l.kind == nothing && l.attributed() {
		l.kind = kindSignal
		if l.of != "" || l.child > 0 {
			l.kind = kindOrder
		}
	}
	l.tidy()
}

// What says that a process listens, if an attribute has the address.
var (
	listening = regexp.MustCompile(`^(?i:(?:the )?(?:http |grpc |api |web )?(?:server )?(?:is )?listening(?: on)?)$`)
	port      = regexp.MustCompile(`:\d{2,5}$`)
)

// match applies the first rule that matches.
func (t *tables) match(l *line) {
	folded := strings.ToLower(l.msg)
	for i := range t.rules {
		r := &t.rules[i]
		if r.hasOne(folded) && r.meant(l) {
			before := *l
			if r.apply(l) && l.sensible() {
				return
			}
			*l = before
		}
	}
}

// sensible reports whether what a rule has made of a line can be.
func (l *line) sensible() bool {
	if l.role == "attribute" {
		l.role = ""
		return l.signal != "" && l.of == "" && l.child == 0
	}
	if l.kind == kindSignal && l.signal == "" && l.role == "" && l.rule.re.NumSubexp() > 0 {
		return false
	}
	if l.program == "systemd" && l.of != "" && !serviceLike(l.of) {
		return false
	}
	return true
}

// serviceLike reports whether a unit is one that has processes.
func serviceLike(unit string) bool {
	for _, suffix := range []string{".target", ".socket", ".mount", ".slice", ".timer", ".path", ".swap", ".device", ".automount"} {
		if strings.HasSuffix(unit, suffix) {
			return false
		}
	}
	return !strings.HasPrefix(unit, "target ") && !strings.HasPrefix(unit, "Session ") && !strings.HasPrefix(unit, "User ") && !strings.HasPrefix(unit, "user@") && !strings.HasPrefix(unit, "user-") && !strings.HasPrefix(unit, "session-") && unit != "systemd-journald.service"
}

// tidy makes names what people call things.
func (l *line) tidy() {
	l.systemd = l.program == "systemd" && l.of != ""
	l.of = unitName(l.of)
	if id := cmp.Or(l.attrs["container"], l.attrs["id"]); l.rule != nil && l.of == "" && len(id) == 64 { // as docker and containerd name it
		l.of = id[:12]
	}
	if l.program == "kubelet" || l.who == "kubelet" {
		if c := l.attrs["container"]; c != "" {
			l.of = c
		}
		l.of = l.of[strings.LastIndexByte(l.of, '/')+1:]
	}
}

// silent are words before or after which a signal's name is only a name.
var silent = regexp.MustCompile(`(?i)\b(?:ignor|handl(?:er|ers)\b|register|install|reset|mask|block|waiting for|listen|configur|would|option|default)`)

// attributed reports whether the line has a signal among its attributes, and is
// not about signals in general.
func (l *line) attributed() bool {
	return l.signal != "" && l.attrs["signal"] != "" && !silent.MatchString(l.msg) && l.severity() != 2
}

// list returns the attributes, sorted.
func (l *line) list() (list []string) {
	for key, value := range l.attrs {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	return slices.Clone(list[:min(len(list), shown)])
}

// settle moves the attributes that count into fields.
func (l *line) settle() {
	l.msg = short(strings.TrimSpace(l.msg), 4*longest)
	a := l.attrs
	if a == nil {
		return
	}
	if pid, _ := strconv.Atoi(a["pid"]); pid > 0 {
		l.pid = pid
	}
	l.child, _ = strconv.Atoi(a["child"])
	l.who, l.of, l.session = cmp.Or(a["who"], l.who), cmp.Or(a["of"], l.of), a["session"]
	for _, key := range signalKeys {
		if a[key] != "" {
			l.signal = signalName(a[key])
			break
		}
	}
	l.status = a["status"]
	for _, key := range []string{"took", "ran", "wait"} {
		if ns, err := strconv.ParseInt(a[key], 10, 64); err == nil { // as slog writes durations
			l.took = time.Duration(ns)
			a[key] = human(l.took)
		} else if d, err := time.ParseDuration(a[key]); err == nil {
			l.took = d
			a[key] = human(d)
		}
	}
}

// signals has the usual names for those that Go gives on Unix.
var signals = map[string]string{
	"hangup": "SIGHUP", "interrupt": "SIGINT", "quit": "SIGQUIT", "aborted": "SIGABRT", "killed": "SIGKILL",
	"terminated": "SIGTERM", "user defined signal 1": "SIGUSR1", "user defined signal 2": "SIGUSR2",
	"broken pipe": "SIGPIPE", "segmentation fault": "SIGSEGV",
}

func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// human writes a duration for people, with three digits or so.
func human(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}
