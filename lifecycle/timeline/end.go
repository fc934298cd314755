package timeline

import (
	"cmp"
	"slices"
	"strings"
)

// fail is a failure: of the writer, or of the one that it is about.
func (k *linker) fail(l *line, p *process) {
	q := p
	if l.about() {
		q = k.subject(l, p)
	}
	if l.rule == nil {
		cause, rule := k.why(l, p, kindFailure, true)
		k.ends(p, k.add(l, p, kindFailure, cause, rule))
		p.fails(p.stop)
		if p.Session != "" && !strings.HasPrefix(l.msg, "task") {
			k.countCut(k.session(p.Session), p.stop)
		}
		return
	}
	if k.again(l, q) {
		return
	}
	if l.role == detail {
		for _, e := range []*event{q.exit, q.fault, q.stop, p.fault, p.lostLast()} {
			if l.after(e, passing) {
				e.also(l)
				return
			}
		}
		if !l.about() && k.detail(l) {
			return
		}
	}
	var cause *event
	var rule string
	switch {
	case l.needs != "" && l.about() && l.after(k.faulted, passing) && k.faulted.Process != q:
		cause, rule = k.faulted, byNeedTime
	case l.systemd && q.service.next != nil && q.service.next.Kind != kindStart && l.after(q.service.next, follow):
		cause, rule = q.service.next, ""
	case l.about() && q.exit != nil && l.after(q.exit, follow):
		cause, rule = q.exit, ""
	case q == p && l.program == "kubelet":
	default:
		cause, rule = k.why(l, q, kindFailure, true)
	}
	e := k.add(l, q, kindFailure, cause, rule)
	k.told.put(l.again(q), e)
	p.fault, p.faultOf = e, l.of
	if l.about() {
		k.faulted = e
	}
	if q == p && l.program == "kubelet" {
		e.chain.Failures++
		return
	}
	q.fault = e
	q.crashed = q == p && l.pid <= 1 && l.loose
	if q.parent != nil {
		q.parent.childBad = e
	}
	k.ends(q, e)
	q.fails(e)
	if q.Session != "" {
		k.countCut(k.session(q.Session), e)
	}
}

// again reports whether a line tells again what the same process told a while ago.
func (k *linker) again(l *line, p *process) bool {
	e, ok := k.told.get(l.again(p))
	if !ok || !l.within(e.seen, follow/3) || p.up.After(e.seen) || p.service.up.After(e.seen) && l.kind == kindWait {
		return false
	}
	e.Times++
	e.also(l)
	return true
}

// again is what a line and a later one that tells the same have in common.
func (l *line) again(p *process) string {
	return strings.Join([]string{l.rule.Name, p.key, l.of, l.needs, l.addr, l.why}, "\x00")
}

// exit is the end of a process, told by itself, its supervisor or its ledger.
func (k *linker) exit(l *line, p *process) {
	q := k.target(l, p)
	if l.role == asked && (q == nil || q.stop == nil && q.exit == nil && k.sent(l, q) == nil) {
		return
	}
	if q == nil && l.of != "" { // systemd's line about a unit that logs elsewhere
		q = k.subject(l, p)
	}
	if q == nil {
		return
	}
	if p = q; l.role == detail {
		if k.detail(l, p.exit, p.fault, p.service.next, p.stop) || !l.about() && !l.loose {
			return
		}
	}
	if e := p.exit; e != nil {
		if l.after(e, 2*serving) {
			if e.also(l); e.borrowed && !l.loose {
				e.Time, e.borrowed = l.at, false
			}
		}
		return
	}
	bad := l.signal != "" || l.status != "" && l.status != "0" && l.status != "ended" && l.status != "stopped"
	cause, rule := k.why(l, p, kindExit, bad)
	if l.systemd && !bad && cause == nil && !p.service.runs { // a job that is done
		return
	}
	if bad && l.rule != nil && cause != nil && cause.asked(l.signal) {
		bad = false
	}
	e := k.add(l, p, kindExit, cause, rule)
	e.harm = bad
	p.exit, p.last = e, l.at
	if p.parent == nil || p.parent.stop != nil || cause == nil || cause != p.parent.reload { // else the reload starts the next
		p.service.ended(p, e)
	}
	p.stop = cmp.Or(p.stop, e)
	if l.rule != nil {
		p.service.stop = e
		if !l.loose || !l.in.several { // else it is not known when
			k.stopped = e
		}
	}
	if !bad {
		return
	}
	if p.parent != nil {
		p.parent.childBad = e
	}
	if l.about() {
		k.faulted = e
	}
	for c := cause; c != nil && c.Kind == kindOrder; c = c.cause() {
		p.failed = p.failed || c.counted
	}
	p.fails(e)
	var left []string
	for n, count := range p.left {
		if count > 0 {
			left = append(left, plural(count, string(n)))
		}
	}
	slices.Sort(left)
	e.Text = say(e.Text, ", left open: %s", strings.Join(left, ", "))
	if p.Session != "" {
		k.countCut(k.session(p.Session), e)
	}
}

// asked reports whether an exit by a signal is what an order wanted: one that
// asks, not one that kills.
func (e *event) asked(signal string) bool {
	return (signal == "SIGTERM" || signal == "SIGINT" || signal == "SIGHUP") && (e.Kind == kindOrder || e.Kind == kindSignal || e.Kind == kindStop) && !abrupt(e.signal)
}

// drain is a line of a drain plan.
func (k *linker) drain(l *line, p *process, kind eventKind) {
	if l.about() { // of a supervisor, about what is left
		p = k.subject(l, p)
	}
	if p.phase != nil && kind != kindStep {
		p.phase.Until = l.at
	}
	switch kind {
	case kindDrain:
		p.drain = k.add(l, p, kind, p.stop, "")
	case kindPhase:
		p.phase = k.add(l, p, kind, cmp.Or(p.drain, p.stop), "")
	case kindStep:
		k.add(l, p, kind, cmp.Or(p.exit, p.phase, p.drain, p.stop), "")
	case drainOver:
		if p.drain != nil {
			p.drain.Until, p.latest = l.at, p.drain
			p.drain.Text = say("drain of "+human(l.took), ", steps failed: %s", strings.TrimPrefix(l.attrs["failed"], "0"))
		}
	}
}
