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
)

// add makes an event, at the end of the chain of its cause or as the root of a
// new one; an empty rule is that of what follows in a process. An error that
// repeats the one before is counted there.
func (k *linker) add(l *line, p *Process, kind Kind, cause *Event, rule string) *Event {
	text := l.text(kind)
	if kind == Start && l.kind() != Start {
		text = say("starts", ": %s", l.msg)
	}
	if b := p.ending(l.at); b != nil && b.Kind == kind && b.Text == text && b.Session == l.session && kind == Failure {
		b.Times++
		return b
	}
	e := &Event{
		Time: l.at, Process: p, Kind: kind, Text: text, Session: l.session, Times: 1, Attrs: l.list(), Input: l.in.Name, Line: l.n,
		Cause: cause,
	}
	e.origin = e
	if cause == nil {
		e.chain = new(Chain)
	} else {
		e.chain = cause.chain
		e.Rule = rule
		if rule == "" {
			e.Rule = follows(kind, cause)
		}
		if kind != Start && rule != byCutBefore && rule != byOpen { // else it is a new stop
			e.origin = cause.origin
		}
	}
	k.t.keep(e)
	e.chain.Until = later(e.chain.Until, l.at)
	if !l.systemd && slices.Contains([]Kind{Signal, Stop, Failure, Drain, Phase, Step}, kind) { // it is not systemd itself that stops
		p.latest = e
	}
	return e
}

// ending returns the latest event of p's stop, unless it went on after that.
func (p *Process) ending(at time.Time) *Event {
	if p.latest == nil || at.Sub(p.latest.Time) > follow {
		return nil
	}
	return p.latest
}

// fails counts a process that failed, once.
func (p *Process) fails(e *Event) {
	if !p.failed {
		p.failed = true
		e.chain.Failures++
	}
}

// keep puts an event into its chain. Where there is no room, the oldest half of
// the chains that cost nothing makes some; where that is not enough, e is not
// kept, though its effects still are tied to its chain.
func (t *Timeline) keep(e *Event) {
	if t.spare <= 0 && !t.full {
		t.forget()
	}
	c := e.chain
	if t.spare <= 0 || c.forgotten {
		t.Forgotten++
		e.Cause = nil // which may be forgotten too
		return
	}
	if len(c.Events) == 0 {
		t.Chains = append(t.Chains, c)
	}
	c.Events = append(c.Events, e)
	t.spare--
}

func (t *Timeline) forget() {
	half := (len(t.Chains) + 1) / 2
	kept := slices.DeleteFunc(t.Chains[:half:half], func(c *Chain) bool {
		if c.Costly() {
			return false
		}
		c.forgotten = true
		t.Forgotten += len(c.Events)
		t.spare += len(c.Events)
		return true
	})
	t.full = len(kept) == half
	t.Chains = append(kept, t.Chains[half:]...)
}

func (t *Timeline) lost(err error) {
	if len(t.Unread) < mostUnread {
		t.Unread = append(t.Unread, err)
	} else {
		t.MoreUnread++
	}
}

// end closes the accounts at the end of the lines.
func (t *Timeline) end() {
	for _, c := range t.Chains {
		if c.waiting > 0 {
			c.Open = true
			c.waited(t.Until)
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
