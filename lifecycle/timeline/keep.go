package timeline

import (
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	mostEvents = 5000
	mostUnread = 100
	mostSpans  = 64
)

// add makes an event, at the end of the chain of its cause or as the root of a
// new one; an empty rule is that of what follows in a process. An error that
// repeats the one before is counted there.
func (k *linker) add(l *line, p *process, kind eventKind, cause *event, rule string) *event {
	text := l.text(kind)
	if kind == kindStart && l.kind != kindStart {
		text = say("starts", ": %s", l.msg)
	}
	if b := p.ending(l.at); b != nil && b.Kind == kind && b.Text == text && b.Session == l.session && kind == kindFailure {
		b.Times++
		b.also(l)
		return b
	}
	e := &event{
		Time: l.at, Process: p, Kind: kind, Text: text, Session: l.session, Times: 1, Attrs: l.list(), Input: l.in.Name, Line: l.n,
		seen: l.at, noTime: l.at.IsZero(), borrowed: l.loose, signal: l.signal, rule: l.ruleName(),
	}
	e.note(l, l.spans...)
	if l.rule != nil {
		k.told.put(k.twinKey, e)
		k.told.put(l.copy(), e)
	}
	e.origin = e
	if cause == nil {
		e.chain = new(chain)
	} else {
		e.chain = cause.chain
		if rule == "" {
			rule = follows(kind, cause)
		}
		e.because(cause, rule)
		if kind != kindStart && rule != byCutBefore && rule != byOpen { // else it is a new stop
			e.origin = cause.origin
		}
	}
	k.t.keep(e)
	e.chain.Until = later(e.chain.Until, l.at)
	if p != nil && (!l.about() || kind != kindOrder) && !(l.systemd && p.Name == "systemd") && l.role != reload && l.program != "kubelet" && slices.Contains([]eventKind{kindSignal, kindStop, kindFailure, kindDrain, kindPhase, kindStep}, kind) { // it is not a supervisor itself that stops
		p.latest = e
	}
	return e
}

// because adds a cause to an event.
func (e *event) because(cause *event, rule string) {
	if !slices.ContainsFunc(e.Causes, func(l link) bool { return l.event == cause }) {
		e.Causes = append(e.Causes, link{cause, rule, !slices.Contains(byTime, rule)})
	}
}

// also notes a further line that tells the same.
func (e *event) also(l *line) {
	e.seen = l.at
	e.note(l, l.n)
	e.note(l, l.spans...)
}

// note adds lines of l's input to those that tell e.
func (e *event) note(l *line, numbers ...int) {
	for _, n := range numbers[:min(len(numbers), mostSpans-len(e.spans))] {
		e.spans = append(e.spans, place{l.in.Name, n})
	}
}

// keep puts an event into its chain. If there is no room, the oldest half of
// the chains that cost nothing makes some; if that is not enough, e is not
// kept, though its effects still are tied to its chain.
func (t *Timeline) keep(e *event) {
	if t.spare <= 0 && !t.full {
		t.forget()
	}
	c := e.chain
	if t.spare <= 0 || c.forgotten {
		t.forgotten++
		e.Causes = nil // which may be forgotten too
		return
	}
	if len(c.Events) == 0 {
		t.chains = append(t.chains, c)
	}
	c.Events = append(c.Events, e)
	t.spare--
}

func (t *Timeline) forget() {
	half := (len(t.chains) + 1) / 2
	kept := slices.DeleteFunc(t.chains[:half:half], func(c *chain) bool {
		if c.costly() {
			return false
		}
		c.forgotten = true
		t.forgotten += len(c.Events)
		t.spare += len(c.Events)
		return true
	})
	t.full = len(kept) == half
	t.chains = append(kept, t.chains[half:]...)
}

func (t *Timeline) lost(err error) {
	if t.unread++; len(t.Unread) < mostUnread {
		t.Unread = append(t.Unread, err)
	}
}

// end closes the accounts at the end of the lines.
func (t *Timeline) end() {
	for _, c := range t.chains {
		if c.waiting > 0 {
			c.Open = true
			c.waited(t.until)
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func baseName(name string) string {
	name = filepath.Base(name)
	return strings.TrimSuffix(name, filepath.Ext(name))
}
