package timeline

import (
	"cmp"
	"slices"
	"time"
)

// A session is somebody who is served.
type session struct {
	name           string
	client, server *Process
	asking         bool     // a question has no answer yet
	left           bool     // its user has taken leave
	over           []string // its latest streams that ended, each counted once

	cut     *Event // the latest
	back    *Event // its return since then
	hurt    *Chain // that cut it, while it had no answer since then
	counted bool   // it is gone, or waits for its answer, on hurt's account
}

func (k *linker) session(name string) *session {
	return k.sessions.of(name, func() *session { return &session{name: name} })
}

// serve finds out who serves whom, and returns the session of a line.
func (k *linker) serve(l *line, p *Process, kind Kind) *session {
	if l.session == "" {
		return nil
	}
	s := k.session(l.session)
	switch {
	case p.Session == l.session && (s.client == nil || s.client.exit != nil || p.stop == nil):
		s.client = p
	case p.Session == "" && kind != asks && kind != Order && kind != Exit && l.of == "":
		s.server = p
	}
	return s
}

// stream is a line about a session.
func (k *linker) stream(s *session, l *line, p *Process, kind Kind) {
	switch key := l.attrs["kind"] + " " + l.attrs["attempt"]; kind {
	case Cut:
		if s.left || key != " " && slices.Contains(s.over, key) {
			return
		}
		s.ended(key)
		cause, rule := k.cutter(s, l)
		e := k.add(l, p, Cut, cause, rule)
		if l.signal != "" && p == s.client {
			k.ends(p, e)
		}
		k.wound(s, e)
	case Reconnect:
		if s.hurt == nil || s.back != nil {
			return
		}
		cause, rule := s.since(), byCut
		if cause == s.cut && s.server != nil && s.server.started != nil && !s.server.started.Time.Before(s.cut.Time) {
			cause, rule = s.server.started, byStart
		}
		s.back = k.add(l, p, Reconnect, cause, rule)
		if !s.asking {
			s.count(l.at, false)
		}
	case asks:
		s.asking = true
		s.count(l.at, true)
	case Answer:
		s.ended(key)
		if s.hurt != nil {
			k.add(l, p, Answer, s.since(), byReconnect)
		}
		s.asking = false
		s.heal(l.at)
	case over:
		s.ended(key)
	case leaves:
		s.left = true
		s.heal(l.at)
	}
}

// since returns the latest event of s that its cut led to, or the cut.
func (s *session) since() *Event {
	switch c := s.client; {
	case s.back != nil:
		return s.back
	case c != nil && c.started != nil && c.started.chain == s.hurt && !c.started.Time.Before(s.cut.Time):
		return c.started
	}
	return s.cut
}

func (s *session) ended(key string) {
	s.over = append(s.over, key)
	if len(s.over) > 8 {
		s.over = slices.Delete(s.over, 0, 4)
	}
}

// cutter returns what cut a session.
func (k *linker) cutter(s *session, l *line) (*Event, string) {
	recent := func(e *Event, within time.Duration) bool { return e != nil && l.at.Sub(e.Time) <= within }
	if c := s.client; c != nil {
		if sent := k.sent(l, c); sent != nil {
			return sent, byKill
		}
		if e := c.ending(l.at); recent(e, sending) {
			return e, byClient
		}
	}
	if v := s.server; v != nil && recent(cmp.Or(v.phase, v.stop), serving) {
		return cmp.Or(v.phase, v.stop), byServer
	}
	if s.server == nil && l.signal == "" && recent(k.stopped, nearby) && k.stopped.Process != s.client {
		return k.stopped, byNearest
	}
	return k.unhealed(l, "", s.name, nil)
}

// wound counts a cut of a session; what one stop does to its streams and its
// process is one. What it waited for until now was on the account of the chain
// that cut it before.
func (k *linker) wound(s *session, e *Event) {
	e.Session = s.name
	c := e.chain
	if s.cut == nil || e.origin != s.cut.origin {
		c.Cuts++
	}
	if !slices.Contains(c.Sessions, s.name) && len(c.Sessions) < 1000 {
		c.Sessions = append(c.Sessions, s.name)
	}
	if s.hurt != c {
		s.heal(e.Time)
		s.hurt = c
		c.hurt++
	}
	s.cut, s.back = e, nil
	s.count(e.Time, true)
}

// count begins or ends the time that s waits on the account of a chain.
func (s *session) count(at time.Time, on bool) {
	if s.hurt == nil || s.counted == on {
		return
	}
	c := s.hurt
	s.counted = on
	switch {
	case on:
		if c.waiting++; c.waiting == 1 {
			c.since = at
		}
	default:
		if c.waiting--; c.waiting == 0 {
			c.silent(at)
		}
	}
}

// silent ends a time in which sessions waited.
func (c *Chain) silent(until time.Time) {
	c.Unanswered += until.Sub(c.since)
	c.Until = later(c.Until, until)
	if n := len(c.silences); n > 0 && c.silences[n-1][1].Equal(c.since) {
		c.silences[n-1][1] = until
	} else if n < 200 {
		c.silences = append(c.silences, [2]time.Time{c.since, until})
	}
}

// heal ends the account of the chain that hurt s.
func (s *session) heal(at time.Time) {
	s.count(at, false)
	if s.hurt != nil {
		s.hurt.Until = later(s.hurt.Until, at)
		s.hurt.hurt--
		s.hurt = nil
	}
}

// succeed lets the session of p take the place of its predecessor's, with what
// that waited for.
func (k *linker) succeed(from, p *Process, at time.Time) {
	if from.Session == "" || p.Session == "" || from.Session == p.Session {
		return
	}
	old, s := k.session(from.Session), k.session(p.Session)
	if old.hurt == nil || s.hurt != nil {
		return
	}
	c := old.hurt
	s.hurt, s.cut, s.asking = c, old.cut, old.asking
	c.hurt++
	s.count(at, true)
	old.heal(at)
	if !s.asking {
		s.count(at, false)
	}
}

// add makes an event, at the end of the chain of its cause or as the root of a
// new one. An error that repeats the one before is counted there.
func (k *linker) add(l *line, p *Process, kind Kind, cause *Event, rule string) *Event {
	text := l.text(kind)
	if kind == Start && l.kind() != Start {
		text = join("starts", ": ", l.msg)
	}
	if b := p.ending(l.at); b != nil && b.Kind == kind && b.Text == text && b.Session == l.session && kind == Failure {
		b.Times++
		return b
	}
	e := l.event(p, kind, text)
	e.Cause = cause
	if cause != nil {
		e.Rule, e.chain = rule, cause.chain
	} else {
		e.chain = new(Chain)
	}
	if e.origin = e; cause != nil && kind != Start && !slices.Contains(newStops, rule) {
		e.origin = cause.origin
	}
	k.t.keep(e)
	e.chain.Until = later(e.chain.Until, l.at)
	if l.systemd { // it is not systemd itself that stops
		return e
	}
	if slices.Contains([]Kind{Signal, Stop, Failure, Drain, Phase, Step}, kind) {
		p.latest = e
	}
	return e
}

func (l *line) event(p *Process, kind Kind, text string) *Event {
	return &Event{
		Time: l.at, Process: p, Kind: kind, Text: text, Session: l.session, Times: 1, Attrs: l.list(), Input: l.in.Name, Line: l.n,
	}
}

// precede puts an order before the signal that it led to, whose line came first:
// systemd tells of a stop when it has sent the signal.
func (k *linker) precede(l *line, p *Process, signal *Event) *Event {
	e := l.event(p, Order, l.text(Order))
	e.Cause, e.Rule, e.chain, e.origin = signal.Cause, signal.Rule, signal.chain, signal
	signal.Cause, signal.Rule = e, bySignal
	if i := slices.Index(e.chain.Events, signal); i >= 0 {
		e.chain.Events = slices.Insert(e.chain.Events, i, e)
		k.t.spare--
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

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// end closes the accounts at the end of the lines.
func (k *linker) end() {
	for _, c := range k.t.Chains {
		if c.waiting > 0 {
			c.Open = true
			c.silent(k.t.Until)
		}
	}
}
