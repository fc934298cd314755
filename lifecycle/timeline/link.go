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

// follow returns what a start at this time follows: it is not that of p's own end.
func (sv *service) follow(p *Process, at time.Time) *Event {
	if sv.next == nil || sv.from == p || at.Sub(sv.next.Time) > follow {
		return nil
	}
	return sv.next
}

// An order is a signal on its way.
type order struct {
	*Event
	signal, of string
	to         *Process
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

// process returns the process of a key. One that has exited is another one's,
// which was given its number.
func (k *linker) process(key, name string, pid int, at time.Time) *Process {
	p, ok := k.processes.get(key)
	if !ok || p.exit != nil && at.Sub(p.exit.Time) > passing {
		p = &Process{Name: name, PID: pid, service: k.service(name), left: map[noun]int{}}
		k.processes.put(key, p)
	}
	return p
}

// writer returns the process that wrote a line, and whether it is the first one.
func (k *linker) writer(l *line) (p *Process, first bool) {
	name := cmp.Or(l.who, baseName(l.in.Name))
	at := l.at
	if l.msg == "run ended" { // the next run has written it for one that died
		at = time.Time{}
	}
	p = k.process(l.in.process(l), name, l.pid, at)
	if l.who != "" && !p.named {
		p.Name, p.service, p.named = name, k.service(name), true
	}
	if first = p.first.IsZero(); first {
		p.first = l.at
		if l.of == "" && l.child == 0 {
			p.Session = l.session
		}
	} else if p.Session != l.session {
		p.Session = "" // it serves several
	}
	p.last = l.at
	return p, first
}

// target returns the process that a line is about: its writer, unless it names
// another one, which may be nil if it is not known.
func (k *linker) target(l *line, p *Process) *Process {
	switch {
	case l.child > 1:
		return k.process(pidKey(l.child), cmp.Or(l.of, "pid"), l.child, l.at)
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
		p.service.now = p
		k.start(l, p, p.service, kind)
	case p.waiting != nil && kind != Wait:
		p.started = k.add(l, p, Start, p.waiting, "")
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
		sv := k.service(cmp.Or(l.of, p.Name))
		if l.child > 1 {
			sv.now = k.target(l, p)
			k.start(l, sv.now, sv, kind)
		} else if l.systemd {
			k.start(l, p, sv, kind)
		}
	case Cut, Reconnect, asks, Answer, over, leaves:
		k.stream(s, l, p, kind)
	default:
		if l.isError && p.ending(l.at) != nil && p.exit == nil {
			k.add(l, p, Failure, p.latest, "")
		}
	}
}

// start is the first line of a process, or what a supervisor says of its start:
// the one that comes first is the event, where it follows an end.
func (k *linker) start(l *line, p *Process, sv *service, kind Kind) {
	next := sv.follow(p, l.at)
	if next == nil {
		return
	}
	if next.Kind == Wait && next.Until.IsZero() {
		next.Until = l.at
	}
	switch {
	case l.systemd: // the process's own lines are still to come
		if next.Kind != Start {
			sv.next = k.add(l, p, Start, next, "")
		}
		return
	case kind == Wait:
		p.waiting = next
	case next.Kind == Start:
		p.started = next
	default:
		p.started = k.add(l, p, Start, next, "")
	}
	sv.next = nil
	p.first = cmp.Or(p.first, l.at)
	k.succeed(sv.from, p, l.at)
}

// order is a signal, or a stop, for somebody else.
func (k *linker) order(l *line, p *Process) {
	o := order{signal: l.signal, of: l.of, to: k.target(l, p)}
	if o.to != nil {
		o.of = o.to.Name
	}
	cause, rule := k.passed(l, passing, func(b order) bool { return b.Process != p && (b.to == o.to || b.of == o.of) }), byOrder
	switch {
	case cause != nil:
	case p.ending(l.at) != nil:
		cause, rule = p.latest, byOwnStop
	default:
		cause, rule = k.unanswered(l, o.of, o.to)
	}
	o.Event = k.add(l, p, Order, cause, rule)
	k.orders = append(k.orders, o)
	if len(k.orders) > 32 {
		k.orders = slices.Delete(k.orders, 0, 16)
	}
}

// passed returns the latest order of l's signal that fits.
func (k *linker) passed(l *line, within time.Duration, fits func(order) bool) *Event {
	for _, b := range slices.Backward(k.orders) {
		if l.at.Sub(b.Time) <= within && (b.signal == l.signal || b.signal == "" || l.signal == "") && fits(b) {
			return b.Event
		}
	}
	return nil
}

// sent returns the order that was for p.
func (k *linker) sent(l *line, p *Process) *Event {
	return k.passed(l, sending, func(b order) bool {
		return b.to == p || b.to == nil && b.of == p.Name || b.Session != "" && b.Session == p.Session
	})
}

// unanswered returns what has no answer since an earlier stop: what happens now to the
// same service, or to a session, belongs to that. Not for ever: a session may
// never come back.
func (k *linker) unanswered(l *line, name string, p *Process) (*Event, string) {
	session := l.session
	if p != nil {
		session = cmp.Or(session, p.Session)
	}
	if s, ok := k.sessions.get(session); ok && s.cutBy != nil && l.at.Sub(s.since().Time) < follow {
		return s.since(), byCutBefore
	}
	if sv, ok := k.services.get(name); ok && sv.stop != nil && sv.stop.chain.owed > 0 && l.at.Sub(sv.stop.Time) < follow {
		return sv.stop, byOpen
	}
	return nil, ""
}

// stop is why a process ends: a signal, a failure, or that it wants to.
func (k *linker) stop(l *line, p *Process, kind Kind) {
	if sv := k.service(l.of); l.systemd && sv.next != nil { // of a unit
		k.add(l, p, kind, sv.next, "")
		return
	}
	failed := kind == Failure || strings.HasPrefix(l.attrs["cause"], "lifecycle: task ") // the stop may come first
	cause, rule := k.why(l, p, kind, failed)
	k.ends(p, k.add(l, p, kind, cause, rule))
	if kind == Failure {
		p.fails(p.stop)
		if p.Session != "" && !strings.HasPrefix(l.msg, "task") {
			k.countCut(k.session(p.Session), p.stop)
		}
	}
}

// why returns the cause of p's stop or end: what comes after its stop is an effect
// of that, but for a signal, which has a sender.
func (k *linker) why(l *line, p *Process, kind Kind, failed bool) (*Event, string) {
	sent, ending := k.sent(l, p), p.ending(l.at)
	switch {
	case sent != nil && (ending == nil || kind == Signal):
		return sent, bySignal
	case ending != nil:
		return ending, ""
	case failed && p.started != nil && l.at.Sub(p.started.Time) < follow:
		return p.started, byLife
	}
	return k.unanswered(l, p.Name, p)
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
	if p.phase != nil && kind != Step {
		p.phase.Until = l.at
	}
	switch kind {
	case Drain:
		p.drain = k.add(l, p, kind, p.stop, "")
	case Phase:
		p.phase = k.add(l, p, kind, cmp.Or(p.drain, p.stop), "")
	case Step:
		k.add(l, p, kind, cmp.Or(p.phase, p.drain, p.stop), "")
	case drainOver:
		if p.drain != nil {
			p.drain.Until, p.latest = l.at, p.drain
			p.drain.Text = say("drain of "+human(l.took), ", steps failed: %s", strings.TrimPrefix(l.attrs["failed"], "0"))
		}
	}
}

// exit is the end of a process, told by itself, its supervisor or its ledger.
func (k *linker) exit(l *line, p *Process) {
	p = k.target(l, p)
	if p == nil && l.of != "" { // systemd's line about a unit that logs elsewhere
		p = k.process("unit "+l.of, l.of, 0, l.at)
		p.service.now = p
	}
	if p == nil || p.exit != nil {
		return
	}
	bad := l.signal != "" || l.status != "" && l.status != "0" && l.status != "ended" && l.status != "stopped"
	cause, rule := k.why(l, p, Exit, bad)
	e := k.add(l, p, Exit, cause, rule)
	p.exit, p.last = e, l.at
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
	e.Text = say(e.Text, ", left open: %s", strings.Join(left, ", "))
	if p.Session != "" {
		k.countCut(k.session(p.Session), e)
	}
}

// wait is the time between an end and a start, or between two runs of a task.
func (k *linker) wait(l *line, p *Process) {
	sv := k.service(cmp.Or(l.of, p.Name))
	at, cause, rule := &p.retry, p.started, byLife
	switch {
	case p.waiting != nil:
		at, cause, rule = &p.waiting, p.waiting, ""
	case l.of != "" && sv.next != nil:
		at, cause, rule = &sv.next, sv.next, ""
	case p.retry != nil && l.at.Sub(p.retry.Time) < follow:
		cause, rule = p.retry, byRetry
	}
	*at = k.add(l, p, Wait, cause, rule)
	if l.took > 0 {
		(*at).Until = l.at.Add(l.took)
	}
}
