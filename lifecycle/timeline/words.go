package timeline

import (
	"cmp"
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
		kind = sessionWords[l.msg]
		if kind == nothing && strings.Contains(l.msg, " interrupted") {
			kind = Cut
		}
		if kind == nothing && strings.HasSuffix(l.msg, "call began") {
			kind = asks
		}
	}
	about := l.of != "" || l.child > 0
	switch {
	case kind == Stop && l.signal != "":
		return Signal
	case kind != nothing:
		return kind
	case strings.HasPrefix(l.msg, "panic: "), strings.HasPrefix(l.msg, "fatal error: "), strings.Contains(l.msg, "crashed"):
		return Failure
	case strings.HasPrefix(l.msg, "started ") && l.child > 0:
		return Start
	case l.signal != "" && about:
		return Order
	case l.signal != "":
		return Signal
	}
	return nothing
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
		switch to := cmp.Or(l.of, l.session); {
		case strings.Contains(l.msg, to):
			return join(l.msg, " ", paren(l.signal))
		case !strings.Contains(l.msg, " ") && l.signal != "":
			return l.msg + " " + l.signal + " to " + to
		default:
			return join(l.msg+" for "+to, " ", paren(l.signal))
		}
	case Signal:
		msg := l.msg
		if msg == "stop" {
			msg = ""
		}
		return join("received "+l.signal, ": ", msg)
	case Stop:
		return join("stops", ": ", a["cause"])
	case Drain:
		return "drain began"
	case Phase:
		return join("phase "+a["phase"], " ", paren(map[string]string{"true": "forced"}[a["forced"]]))
	case Step:
		if a["step"] == "" {
			return join(l.msg, ": ", a["sessions"])
		}
		what := "step " + a["step"]
		if l.msg != "step ended" {
			what = l.msg + " " + a["step"]
		}
		return join(join(what, ": ", a["outcome"])+" after "+a["took"], ": ", why)
	case Cut:
		return join(join(l.msg, ", ", a["kind"]), " ", paren(cmp.Or(l.signal, why)))
	case Exit:
		switch {
		case l.signal != "":
			return "killed by " + l.signal
		case l.msg == "run ended":
			return join("run ended: "+l.status+" after "+a["lasted"], ", cut ", strings.TrimPrefix(a["cut"], "0"))
		}
		return "exited with status " + cmp.Or(l.status, "?")
	case Wait:
		if pid := a["holder.pid"]; pid != "" {
			why = "held by pid " + pid
		}
		return join(join(join(l.msg, " ", a["wait"]), ", level ", a["level"]), ": ", cmp.Or(why, a["cause"]))
	case Start:
		if w := strings.TrimPrefix(a["waited"], "0s"); w != "" {
			return l.msg + " after a wait of " + w
		}
	case Reconnect:
		return "session is back: " + l.msg
	case Failure:
		return join(join(l.msg, " ", cmp.Or(a["task"], a["name"])), ": ", why)
	}
	return join(l.msg, ": ", why)
}

// join puts sep between two texts, and nothing after the first where the second
// is empty.
func join(a, sep, b string) string {
	if b == "" {
		return a
	}
	return a + sep + b
}

func paren(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// A noun is what processes open and close, begin and end.
type noun string

// balance tells what a message opens, with 1, or closes, with -1.
func balance(msg string) (n noun, by int) {
	what, verb, ok := strings.Cut(msg, " ")
	switch {
	case !ok:
	case verb == "opened", verb == "began":
		return noun(what), 1
	case verb == "closed", verb == "ended":
		return noun(what), -1
	}
	return "", 0
}
