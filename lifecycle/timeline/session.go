package timeline

import (
	"cmp"
	"slices"
	"time"
)

// A session is a client that a process serves.
type session struct {
	name           string
	client, server *process
	asking         bool     // a question has no answer yet
	left           bool     // its user has taken leave
	over           []string // its latest streams that ended, each counted once

	cut     *event // the latest
	back    *event // its return since then
	cutBy   *chain // that cut it, while it had no answer since then
	counted bool   // it is gone, or waits for its answer, on cutBy's account
}

func (k *linker) session(name string) *session {
	return k.sessions.of(name, func() *session { return &session{name: name} })
}

// serve finds out which process serves a session, and returns the session of a line.
func (k *linker) serve(l *line, p *process, kind eventKind) *session {
	if l.session == "" {
		return nil
	}
	s := k.session(l.session)
	switch {
	case p.Session == l.session && (s.client == nil || s.client.exit != nil || p.stop == nil):
		s.client = p
	case p.Session == "" && kind != asks && kind != kindOrder && kind != kindExit && l.of == "":
		s.server = p
	}
	return s
}

// stream is a line about a session.
func (k *linker) stream(s *session, l *line, p *process, kind eventKind) {
	key := l.attrs["kind"] + " " + l.attrs["attempt"]
	if kind == kindCut && (s.left || key != " " && slices.Contains(s.over, key)) {
		return
	}
	if kind == kindCut || kind == kindAnswer || kind == over {
		s.over = append(s.over, key)
		s.over = s.over[max(0, len(s.over)-8):]
	}
	switch kind {
	case kindCut:
		cause, rule := k.cutter(s, l)
		e := k.add(l, p, kindCut, cause, rule)
		if l.signal != "" && p == s.client {
			k.ends(p, e)
		}
		k.countCut(s, e)
	case kindReconnect:
		if s.cutBy == nil || s.back != nil {
			return
		}
		cut, cause, rule := s.since(), s.since(), byCut
		if v := s.server; cause == s.cut && v != nil && v.started != nil && !v.started.Time.Before(s.cut.Time) {
			cause, rule = v.started, byStart
		}
		s.back = k.add(l, p, kindReconnect, cause, rule)
		s.back.because(cut, byCut)
		s.count(l.at, s.asking)
	case asks:
		s.asking = true
		s.count(l.at, true)
	case kindAnswer:
		if s.cutBy != nil {
			k.add(l, p, kindAnswer, s.since(), byReconnect)
		}
		s.asking = false
		s.answered(l.at)
	case leaves:
		s.left = true
		s.answered(l.at)
	}
}

// since returns the latest event of s that its cut led to, or the cut.
func (s *session) since() *event {
	switch c := s.client; {
	case s.back != nil:
		return s.back
	case c != nil && c.started != nil && c.started.chain == s.cutBy && !c.started.Time.Before(s.cut.Time):
		return c.started
	}
	return s.cut
}

// cutter returns what cut a session.
func (k *linker) cutter(s *session, l *line) (*event, string) {
	recent := func(e *event, within time.Duration) bool { return e != nil && l.at.Sub(e.Time) <= within }
	if c := s.client; c != nil {
		if sent := k.sent(l, c); sent != nil {
			return sent, byKill
		}
		if recent(c.latest, sending) {
			return c.latest, byClient
		}
	}
	if v := s.server; v != nil && recent(cmp.Or(v.phase, v.stop), serving) {
		return cmp.Or(v.phase, v.stop), byServer
	}
	if s.server == nil && l.signal == "" && recent(k.stopped, nearby) && k.stopped.Process != s.client {
		return k.stopped, byNearest
	}
	return k.unanswered(l, "", nil)
}

// countCut counts a cut of a session; what one stop does to its streams and its
// process is one. What it waited for until now was on the account of the chain
// that cut it before.
func (k *linker) countCut(s *session, e *event) {
	e.Session = s.name
	c := e.chain
	if s.cut == nil || e.origin != s.cut.origin {
		c.Cuts++
	}
	if !slices.Contains(c.Sessions, s.name) && len(c.Sessions) < 1000 {
		c.Sessions = append(c.Sessions, s.name)
	}
	if s.cutBy != c {
		s.answered(e.Time)
		s.cutBy = c
		c.owed++
	}
	s.cut, s.back = e, nil
	s.count(e.Time, true)
}

// count begins or ends the time that s waits on the account of a chain.
func (s *session) count(at time.Time, on bool) {
	c := s.cutBy
	if c == nil || s.counted == on {
		return
	}
	if s.counted = on; on {
		if c.waiting++; c.waiting == 1 {
			c.since = at
		}
	} else if c.waiting--; c.waiting == 0 {
		c.waited(at)
	}
}

// waited ends a time in which sessions waited.
func (c *chain) waited(until time.Time) {
	c.Unanswered += until.Sub(c.since)
	c.Until = later(c.Until, until)
	if n := len(c.waits); n > 0 && c.waits[n-1][1].Equal(c.since) {
		c.waits[n-1][1] = until
	} else if n < 200 {
		c.waits = append(c.waits, [2]time.Time{c.since, until})
	}
}

// answered ends the account of the chain that cut s.
func (s *session) answered(at time.Time) {
	if s.cutBy != nil {
		s.count(at, false)
		s.cutBy.Until = later(s.cutBy.Until, at)
		s.cutBy.owed--
		s.cutBy = nil
	}
}

// succeed lets the session of p take the place of its predecessor's, with what
// that waited for.
func (k *linker) succeed(from, p *process, at time.Time) {
	if from.Session == "" || p.Session == "" || from.Session == p.Session {
		return
	}
	old, s := k.session(from.Session), k.session(p.Session)
	if old.cutBy == nil || s.cutBy != nil {
		return
	}
	s.cutBy, s.cut, s.asking, s.counted = old.cutBy, old.cut, old.asking, old.counted
	s.count(at, s.asking)
	s.cutBy.Until = later(s.cutBy.Until, at)
	old.cutBy, old.counted = nil, false
}
