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

// own says what a line of this library, or of a program that writes as it does,
// is by itself.
func (l *line) own() Kind {
	kind := words[l.msg]
	if l.attrs == nil && kind != drainOver { // plain text that happens to say "stop"
		return nothing
	}
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
	case kind == nothing && strings.HasPrefix(l.msg, "started ") && l.child > 0:
		return Start
	}
	return kind
}

// quote says what happened in the words of the line.
func (l *line) quote(kind Kind, why string) string {
	text := short(l.msg, 110)
	if l.systemd {
		text, _, _ = strings.Cut(strings.TrimRight(text, "."), " - ")
	}
	if kind == Signal && l.signal != "" {
		text = "received " + l.signal
	}
	if l.of != "" && !strings.Contains(text, l.of) {
		text = l.of + ": " + text
	}
	if why = cmp.Or(l.why, why); strings.Contains(text, why) {
		why = ""
	}
	return say(text, ": %s", short(why, 120))
}

// text says what happened, for people.
func (l *line) text(kind Kind) string {
	a := l.attrs
	why := short(cmp.Or(a["error"], a["reason"]), 120)
	if l.rule != nil {
		return l.quote(kind, why)
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
