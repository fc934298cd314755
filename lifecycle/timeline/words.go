package timeline

import (
	"cmp"
	"fmt"
	"strings"
)

// What a line can be besides an event.
const (
	nothing   eventKind = ""
	drainOver eventKind = "drain over"
	asks      eventKind = "asks"
	over      eventKind = "stream over"
	leaves    eventKind = "leaves"
)

// words are the messages that are understood whole. Those about sessions count
// if there is one.
var words = map[string]eventKind{
	"stop":                    kindStop,
	"drain began":             kindDrain,
	"phase began":             kindPhase,
	"drain forced":            kindStep,
	"step ended":              kindStep,
	"abandoned step returned": kindStep,
	"drain ended":             drainOver,
	"sessions cut again":      kindStep,
	"run died":                kindWait, // as "restart wait": of the process before, so it is no failure of this one
	"session suspected":       kindStep,
	"suspects dropped":        kindStep,
	"task failed":             kindFailure,
	"tasks left":              kindFailure,
	"panic":                   kindFailure,
	"restart wait":            kindWait,
	"ledger unavailable":      kindWait,
	"lock wait":               kindWait,
	"lock lingers":            kindWait,
	"restart job":             kindOrder,
	"exited":                  kindExit,
	"exit":                    kindExit,
	"run ended":               kindExit,
	"run began":               kindStart,
}

var sessionWords = map[string]eventKind{
	"typed": asks, "asked": asks,
	"connected": kindReconnect, "reconnected": kindReconnect,
	"answered": kindAnswer, "recovered": kindAnswer,
	"cut": kindCut, "client gone": kindCut,
	"goodbye": over, "response ended": over,
	"leaving": leaves,
}

// own says what a line of this library, or of a program that writes as it does,
// is by itself.
func (l *line) own() eventKind {
	kind := words[l.msg]
	if l.attrs == nil && kind != drainOver { // plain text that happens to say "stop"
		return nothing
	}
	if kind == nothing && l.session != "" {
		switch kind = sessionWords[l.msg]; {
		case strings.Contains(l.msg, " interrupted"):
			kind = kindCut
		case strings.HasSuffix(l.msg, "call began"):
			kind = asks
		}
	}
	switch {
	case kind == kindStop && l.signal != "":
		return kindSignal
	case kind == nothing && strings.HasPrefix(l.msg, "started ") && l.child > 0:
		return kindStart
	}
	return kind
}

// quote says what happened in the words of the line.
func (l *line) quote(kind eventKind, why string) string {
	text := cmp.Or(l.said, short(l.msg, 110))
	if l.systemd {
		text, _, _ = strings.Cut(strings.TrimRight(text, "."), " - ")
	}
	if kind == kindSignal && l.signal != "" {
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
func (l *line) text(kind eventKind) string {
	a := l.attrs
	why := short(cmp.Or(a["error"], a["reason"]), 120)
	if l.rule != nil {
		return l.quote(kind, why)
	}
	switch l.msg {
	case "run died":
		return say("the run before died", " after %s", a["ran"], ", %s in flight", a["sessions"], ": %s", why)
	case "session suspected":
		return say("session suspected", " after %s deaths", a["deaths"])
	case "suspects dropped":
		return say(l.msg, ": %s sessions", a["sessions"], ", more than %s", a["most"])
	}
	switch kind {
	case kindOrder:
		to := cmp.Or(l.of, l.session)
		switch {
		case strings.Contains(l.msg, to):
			to = ""
		case !strings.Contains(l.msg, " "): // a verb
			return say(l.msg, " %s", l.signal, " to %s", to)
		}
		return say(l.msg, " for %s", to, " (%s)", l.signal)
	case kindSignal:
		return strings.TrimSuffix("received "+l.signal+": "+l.msg, ": stop")
	case kindStop:
		return say("stops", ": %s", a["cause"])
	case kindPhase:
		return say("phase "+a["phase"], " (%s)", map[string]string{"true": "forced"}[a["forced"]])
	case kindStep:
		return say(strings.Replace(l.msg, "step ended", "step", 1), " %s", a["step"], ": %s", cmp.Or(a["outcome"], a["sessions"]), " after %s", a["took"], ": %s", why)
	case kindCut:
		return say(l.msg, ", %s", a["kind"], " (%s)", cmp.Or(l.signal, why))
	case kindExit:
		switch {
		case l.signal != "":
			return "killed by " + l.signal
		case l.msg == "run ended":
			return say(l.msg+": "+l.status, " after %s", a["lasted"], ", %s", a["inflight"], ", cut %s", strings.TrimPrefix(a["cut"], "0"))
		}
		return say("exited with status "+cmp.Or(l.status, "?"), ": %s", why)
	case kindWait:
		return say(l.msg, " %s", a["wait"], ", level %s", a["backoff"], ": held by %s", a["holder"], ": %s", cmp.Or(why, a["cause"]))
	case kindStart:
		return say(l.msg, " after a wait of %s", strings.TrimPrefix(a["waited"], "0s"))
	case kindReconnect:
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
