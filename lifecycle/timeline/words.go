package timeline

import (
	"cmp"
	"fmt"
	"strings"
)

// What a line can be besides an event.
const (
	nothing   Kind = ""
	drainOver Kind = "drain over"
	asks      Kind = "asks"
	over      Kind = "stream over"
	leaves    Kind = "leaves"
)

// words are the messages that are understood whole. Those about sessions count
// where there is one.
var words = map[string]Kind{
	"stop":                    Stop,
	"drain began":             Drain,
	"phase began":             Phase,
	"drain forced":            Step,
	"step ended":              Step,
	"abandoned step returned": Step,
	"drain ended":             drainOver,
	"sessions cut again":      Step,
	"task failed":             Failure,
	"tasks left":              Failure,
	"panic":                   Failure,
	"restart wait":            Wait,
	"ledger unavailable":      Wait,
	"lock wait":               Wait,
	"lock lingers":            Wait,
	"restart job":             Order,
	"exited":                  Exit,
	"run ended":               Exit,
	"run began":               Start,
}

var sessionWords = map[string]Kind{
	"typed": asks, "asked": asks,
	"connected": Reconnect, "reconnected": Reconnect,
	"answered": Answer, "recovered": Answer,
	"cut": Cut, "client gone": Cut,
	"goodbye": over, "response ended": over,
	"leaving": leaves,
}

// systemdWords are how systemd's lines about a unit begin, after its name.
var systemdWords = []struct {
	prefix string
	kind   Kind
}{
	{"Main process exited", Exit}, {"Deactivated successfully", Exit}, {"Failed with result", Exit}, {"Stopped ", Exit},
	{"Scheduled restart job", Wait}, {"Starting ", Start}, {"Started ", Start},
	{"Stopping ", Order}, {"Killing process", Order}, {"Watchdog timeout", Order},
	{"State 'stop-", Order}, {"Start request repeated too quickly", Failure},
}

// kind says what a line is by itself.
func (l *line) kind() Kind {
	if l.systemd {
		for _, w := range systemdWords {
			if strings.HasPrefix(l.said(), w.prefix) {
				return w.kind
			}
		}
		return nothing
	}
	kind := words[l.msg]
	if kind == nothing && l.session != "" {
		switch kind = sessionWords[l.msg]; {
		case strings.Contains(l.msg, " interrupted"):
			kind = Cut
		case strings.HasSuffix(l.msg, "call began"):
			kind = asks
		}
	}
	switch {
	case kind == Stop && l.signal != "":
		return Signal
	case kind != nothing:
		return kind
	case isCrash(l.msg), strings.Contains(l.msg, "crashed"):
		return Failure
	case strings.HasPrefix(l.msg, "started ") && l.child > 0:
		return Start
	case l.signal == "":
		return nothing
	case l.of != "" || l.child > 0:
		return Order
	}
	return Signal
}

// isCrash reports whether a line is how the trace of a Go program begins.
func isCrash(s string) bool {
	return strings.HasPrefix(s, "panic: ") || strings.HasPrefix(s, "fatal error: ")
}

// said is what systemd says about a unit, without its description.
func (l *line) said() string {
	text, _, _ := strings.Cut(strings.TrimPrefix(l.msg, l.of+".service: "), " - ")
	return strings.TrimSuffix(text, ".")
}

// text says what happened, for people.
func (l *line) text(kind Kind) string {
	a := l.attrs
	why := short(cmp.Or(a["error"], a["reason"]), 120)
	if l.systemd {
		if strings.Contains(l.said(), l.of) {
			return l.said()
		}
		return l.of + ": " + l.said()
	}
	switch kind {
	case Order:
		to := cmp.Or(l.of, l.session)
		switch {
		case strings.Contains(l.msg, to):
			to = ""
		case !strings.Contains(l.msg, " "): // a verb
			return say(l.msg, " %s", l.signal, " to %s", to)
		}
		return say(l.msg, " for %s", to, " (%s)", l.signal)
	case Signal:
		return strings.TrimSuffix("received "+l.signal+": "+l.msg, ": stop")
	case Stop:
		return say("stops", ": %s", a["cause"])
	case Phase:
		return say("phase "+a["phase"], " (%s)", map[string]string{"true": "forced"}[a["forced"]])
	case Step:
		return say(strings.Replace(l.msg, "step ended", "step", 1), " %s", a["step"], ": %s", cmp.Or(a["outcome"], a["sessions"]), " after %s", a["took"], ": %s", why)
	case Cut:
		return say(l.msg, ", %s", a["kind"], " (%s)", cmp.Or(l.signal, why))
	case Exit:
		switch {
		case l.signal != "":
			return "killed by " + l.signal
		case l.msg == "run ended":
			return say(l.msg+": "+l.status, " after %s", a["lasted"], ", cut %s", strings.TrimPrefix(a["cut"], "0"))
		}
		return "exited with status " + cmp.Or(l.status, "?")
	case Wait:
		return say(l.msg, " %s", a["wait"], ", level %s", a["backoff"], ": held by %s", a["holder"], ": %s", cmp.Or(why, a["cause"]))
	case Start:
		return say(l.msg, " after a wait of %s", strings.TrimPrefix(a["waited"], "0s"))
	case Reconnect:
		return "session is back: " + l.msg
	}
	return say(l.msg, " %s", cmp.Or(a["task"], a["name"]), ": %s", why)
}

// say adds to a text the values that are not empty, each in its format.
func say(text string, formats ...string) string {
	for i := 0; i < len(formats); i += 2 {
		if value := formats[i+1]; value != "" {
			text += fmt.Sprintf(formats[i], value)
		}
	}
	return text
}

// A noun is what processes open and close, begin and end.
type noun string

// balance tells what a message opens, with 1, or closes, with -1.
func balance(msg string) (n noun, by int) {
	what, verb, _ := strings.Cut(msg, " ")
	switch verb {
	case "opened", "began":
		by = 1
	case "closed", "ended":
		by = -1
	}
	return noun(what), by
}
