package timeline

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A linker takes the lines in their order and finds their chains. All that it
// knows about processes, services and sessions is bounded.
type linker struct {
	t         *Timeline
	processes *recent[*Process]
	services  *recent[*service] // by the name that processes share
	sessions  *recent[*session]
	orders    []order // the last few
	stopped   *Event  // the latest stop of any process
}

// A service is the processes of one name.
type service struct {
	now  *Process // the one that began last
	stop *Event   // the latest
	next *Event   // what the next start follows; nil once it has
	from *Process // whose end that is
}

// An order is a signal on its way.
type order struct {
	*Event
	signal, of, session string
	to                  *Process
}

func newLinker() *linker {
	return &linker{
		t:         &Timeline{spare: mostEvents},
		processes: newRecent[*Process](4096),
		services:  newRecent[*service](4096),
		sessions:  newRecent[*session](16384),
	}
}

func (k *linker) service(name string) *service {
	return k.services.of(name, func() *service { return new(service) })
}

func (k *linker) process(key, name string, pid int) *Process {
	return k.processes.of(key, func() *Process { return k.newProcess(key, name, pid) })
}

func (k *linker) newProcess(key, name string, pid int) *Process {
	return &Process{Name: name, PID: pid, key: key, service: k.service(name), left: map[noun]int{}}
}

// writer returns the process that wrote a line, and whether it is the first one.
func (k *linker) writer(l *line) (p *Process, first bool) {
	name := cmp.Or(l.who, baseName(l.in.Name))
	key := l.in.process(l)
	p = k.process(key, name, l.pid)
	if p.exit != nil && l.at.Sub(p.exit.Time) > passing && l.msg != "run ended" {
		p = k.newProcess(key, name, l.pid) // the number was given to another one
		k.processes.put(key, p)
	}
	if l.who != "" && p.plain {
		p.Name, p.plain, p.service = name, false, k.service(name)
	}
	if first = p.First.IsZero(); first {
		p.First, p.plain = l.at, l.who == ""
		if l.of == "" && l.child == 0 {
			p.Session = l.session
		}
		if l.who != "" {
			p.Name, p.service = name, k.service(name)
		}
	} else if p.Session != l.session {
		p.Session = "" // it serves several
	}
	p.Last = l.at
	return p, first
}

// target returns the process that a line is about: its writer, unless it names
// another one, which may be nil if it is not known.
func (k *linker) target(l *line, p *Process) *Process {
	switch {
	case l.child > 1:
		return k.process("pid "+itoa(l.child), cmp.Or(l.of, "pid"), l.child)
	case l.session != "" && p.Session != l.session:
		return k.session(l.session).client
	case l.of != "":
		return k.service(l.of).now
	}
	return p
}

// take takes the next line.
func (k *linker) take(l *line) {
	p, first := k.writer(l)
	k.t.Lines++
	k.t.Until = later(k.t.Until, l.at)
	kind := l.kind()
	if n, by := balance(l.msg); by != 0 && (kind == nothing || kind == over) && len(p.left) < 100 {
		p.left[n] += by
	}
	switch {
	case first && !l.systemd:
		k.begin(l, p, kind)
	case p.waiting != nil && kind != Wait:
		p.started = k.add(l, p, Start, p.waiting, byWait)
		p.waiting = nil
	}
	s := k.serve(l, p, kind)
	switch kind {
	case Order:
		k.order(l, p)
	case Signal, Stop, Failure:
		k.stop(l, p, kind)
	case Drain, Phase, Step, drainOver:
		k.drain(l, p, kind)
	case Exit:
		k.exit(l, p)
	case Wait:
		k.wait(l, p)
	case Start:
		if !first || l.systemd {
			k.start(l, p)
		}
	case Cut, Reconnect, asks, Answer, over, leaves:
		k.stream(s, l, p, kind)
	default:
		if l.isError && p.ending(l.at) != nil && p.exit == nil {
			k.add(l, p, Failure, p.latest, endRule(p.latest))
		}
	}
}

// begin is called with the first line of a process.
func (k *linker) begin(l *line, p *Process, kind Kind) {
	was := *p.service
	p.service.now = p
	if was.next == nil || was.from == p || l.at.Sub(was.next.Time) > follow || p.started != nil {
		return
	}
	p.service.next = nil
	k.succeed(was.from, p, l.at)
	switch {
	case kind == Wait:
		p.follows = was.next
	case was.next.Kind == Start && was.next.Process != was.from:
		p.started = was.next // a supervisor's line says so
	default:
		p.started = k.add(l, p, Start, was.next, startRule(was.next))
	}
}

// start is what a supervisor says of a start. It is an event where it follows an
// end, and the process's own first line then is none.
func (k *linker) start(l *line, p *Process) {
	sv := k.service(cmp.Or(l.of, p.Name))
	to := p
	if l.child > 1 {
		if to = k.target(l, p); to.exit != nil { // the number was given again
			to = k.newProcess(to.key, to.Name, l.child)
			k.processes.put(to.key, to)
		}
		sv.now = to
	}
	if sv.next == nil || sv.from == to || l.at.Sub(sv.next.Time) > follow {
		return
	}
	if sv.next.Kind == Start {
		return
	}
	e := k.add(l, to, Start, sv.next, startRule(sv.next))
	if sv.next.Kind == Wait && sv.next.Until.IsZero() {
		sv.next.Until = l.at
	}
	if to == p && l.systemd {
		sv.next = e // the process's own lines are still to come
		return
	}
	to.started, sv.next = e, nil
	to.First = cmp.Or(to.First, l.at)
	k.succeed(sv.from, to, l.at)
}

// order is a signal, or a stop, for somebody else.
func (k *linker) order(l *line, p *Process) {
	to := k.target(l, p)
	of := l.of
	if to != nil {
		of = to.Name
	}
	o := order{signal: l.signal, of: of, session: l.session, to: to}
	var cause *Event
	var rule string
	passed := k.passed(l, o, passing, func(b order) bool { return b.Process != p && (b.to == to || b.of == of) })
	switch {
	case passed != nil:
		cause, rule = passed, byOrder
	case p.ending(l.at) != nil:
		cause, rule = p.latest, byOwnStop
	default:
		cause, rule = k.unhealed(l, of, o.session, to)
	}
	if l.systemd && to != nil && to.stop != nil && to.stop.Kind == Signal && to.stop.Rule != bySignal && l.at.Sub(to.stop.Time) < passing {
		o.Event = k.precede(l, p, to.stop)
	} else {
		o.Event = k.add(l, p, Order, cause, rule)
	}
	k.orders = append(k.orders, o)
	if len(k.orders) > 32 {
		k.orders = slices.Delete(k.orders, 0, 16)
	}
}

// passed returns the latest order that fits.
func (k *linker) passed(l *line, o order, within time.Duration, fits func(order) bool) *Event {
	for _, b := range slices.Backward(k.orders) {
		if l.at.Sub(b.Time) <= within && (b.signal == o.signal || b.signal == "" || o.signal == "") && fits(b) {
			return b.Event
		}
	}
	return nil
}

// sent returns the order that was for p.
func (k *linker) sent(l *line, p *Process) *Event {
	return k.passed(l, order{signal: l.signal}, sending, func(b order) bool {
		return b.to == p || b.to == nil && b.of == p.Name || b.session != "" && b.session == p.Session
	})
}

// unhealed returns what still hurts of an earlier stop: what happens now to the
// same service, or to a session, belongs to that. Not for ever: a session may
// never come back.
func (k *linker) unhealed(l *line, name, session string, p *Process) (*Event, string) {
	if p != nil {
		session = cmp.Or(session, p.Session)
	}
	if s, ok := k.sessions.get(session); ok && session != "" && s.hurt != nil && l.at.Sub(s.since().Time) < follow {
		return s.since(), byWound
	}
	if sv, ok := k.services.get(name); ok && sv.stop != nil && sv.stop.chain.hurt > 0 && l.at.Sub(sv.stop.Time) < follow {
		return sv.stop, byOpen
	}
	return nil, ""
}

// stop is why a process ends: a signal, a failure, or that it wants to.
func (k *linker) stop(l *line, p *Process, kind Kind) {
	if l.systemd { // of a unit
		if sv := k.service(l.of); sv.next != nil {
			k.add(l, p, kind, sv.next, startRule(sv.next))
			return
		}
	}
	failed := kind == Failure || strings.HasPrefix(l.attrs["cause"], "lifecycle: task ") // the stop may come first
	var cause *Event
	var rule string
	switch sent := k.sent(l, p); {
	case kind == Signal && sent != nil:
		cause, rule = sent, bySignal
	case p.ending(l.at) != nil:
		cause, rule = p.latest, endRule(p.latest)
	case sent != nil:
		cause, rule = sent, bySignal
	case failed && p.started != nil && l.at.Sub(p.started.Time) < follow:
		cause, rule = p.started, byLife
	default:
		cause, rule = k.unhealed(l, p.Name, "", p)
	}
	k.ends(p, k.add(l, p, kind, cause, rule))
	if kind == Failure {
		p.fails(p.stop)
	}
	if crash := kind == Failure && !strings.HasPrefix(l.msg, "task"); crash && p.Session != "" {
		k.wound(k.session(p.Session), p.stop)
	}
}

// ends notes that p is ending, because of e.
func (k *linker) ends(p *Process, e *Event) {
	if p.stop == nil || e.Kind == Failure {
		p.stop = e
	}
	sv := p.service
	sv.stop, sv.next, sv.from = e, e, p
	k.stopped = e
}

// drain is a line of a drain plan.
func (k *linker) drain(l *line, p *Process, kind Kind) {
	cause := p.stop
	if kind != Drain {
		cause = cmp.Or(p.drain, p.stop)
	}
	if kind == Step {
		cause = cmp.Or(p.phase, cause)
	}
	switch kind {
	case Drain:
		p.drain = k.add(l, p, kind, cause, partRule(cause))
	case Phase:
		if p.phase != nil {
			p.phase.Until = l.at
		}
		p.phase = k.add(l, p, kind, cause, partRule(cause))
	case Step:
		k.add(l, p, kind, cause, partRule(cause))
	case drainOver:
		if p.drain == nil {
			return
		}
		p.drain.Until = l.at
		p.drain.Text = "drain of " + human(l.took)
		if n := l.attrs["failed"]; n != "" && n != "0" {
			p.drain.Text += ", steps failed: " + n
		}
		if p.phase != nil {
			p.phase.Until = l.at
		}
		p.latest = p.drain
	}
}

// exit is the end of a process, told by itself, its supervisor or its ledger.
func (k *linker) exit(l *line, p *Process) {
	p = k.target(l, p)
	if p == nil && l.of != "" { // systemd's line about a unit that logs elsewhere
		p = k.process("unit "+l.of, l.of, 0)
		p.service.now = p
	}
	if p == nil || p.exit != nil {
		return
	}
	cause, rule := p.ending(l.at), ""
	if cause != nil {
		rule = endRule(cause)
	} else if sent := k.sent(l, p); sent != nil {
		cause, rule = sent, bySignal
	}
	bad := l.signal != "" || l.status != "" && l.status != "0" && l.status != "ended"
	if cause == nil && bad && p.started != nil && l.at.Sub(p.started.Time) < follow {
		cause, rule = p.started, byLife
	}
	if cause == nil {
		cause, rule = k.unhealed(l, p.Name, "", p)
	}
	e := k.add(l, p, Exit, cause, rule)
	p.exit, p.Last = e, l.at
	p.service.next, p.service.from = e, p
	p.stop = cmp.Or(p.stop, e)
	if !bad {
		return
	}
	p.fails(e)
	var left []string
	for n, count := range p.left {
		if count > 0 {
			left = append(left, plural(count, string(n)))
		}
	}
	slices.Sort(left)
	e.Text = join(e.Text, ", left open: ", strings.Join(left, ", "))
	if p.Session != "" {
		k.wound(k.session(p.Session), e)
	}
}

// wait is the time between an end and a start, or between two runs of a task.
func (k *linker) wait(l *line, p *Process) {
	sv := k.service(cmp.Or(l.of, p.Name))
	var e *Event
	switch {
	case p.follows != nil:
		e = k.add(l, p, Wait, p.follows, startRule(p.follows))
		p.follows, p.waiting = nil, e
	case p.waiting != nil:
		e = k.add(l, p, Wait, p.waiting, byWait)
		p.waiting = e
	case l.of != "" && sv.next != nil:
		e = k.add(l, p, Wait, sv.next, startRule(sv.next))
		sv.next = e
	case p.retry != nil && l.at.Sub(p.retry.Time) < follow:
		e = k.add(l, p, Wait, p.retry, byRetry)
		p.retry = e
	default:
		e = k.add(l, p, Wait, p.started, byLife)
		p.retry = e
	}
	if l.took > 0 {
		e.Until = l.at.Add(l.took)
	}
}
