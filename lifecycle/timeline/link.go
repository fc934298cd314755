package timeline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A linker takes the lines in their order and finds their chains. All that it
// knows about processes, services and sessions is bounded.
type linker struct {
	t         *Timeline
	processes *recent[string, *Process]
	services  *recent[string, *service] // by the name that processes share
	names     []string                  // of the latest services, for those that have two
	sessions  *recent[string, *session]
	told      *recent[string, *Event] // what may be told again
	orders    []order                 // the last few
	stopped   *Event                  // the latest stop of any process
	begun     *Event                  // the latest start
	faulted   *Event                  // the latest failure that a supervisor told
	twinKey   string                  // of the line that is being taken
}

// An order is a signal on its way.
type order struct {
	*Event
	signal string
	to     *Process // if it is known
	of     *service // if it is for a service, not for a process alone
	at     *service // the one that it is about, in any case
	all    *Process // whose children it is for
}

func newLinker() *linker {
	return &linker{
		t:         &Timeline{spare: mostEvents},
		processes: newRecent[string, *Process](4096),
		services:  newRecent[string, *service](4096),
		sessions:  newRecent[string, *session](16384),
		told:      newRecent[string, *Event](4096),
	}
}

// take takes the next line.
func (k *linker) take(l *line) {
	p, first := k.writer(l)
	k.t.Until = later(k.t.Until, l.at)
	kind := l.kind
	if l.rule != nil && k.twin(l) {
		return
	}
	if l.rule == nil {
		k.balance(l, p)
		if first && !l.about() && l.attrs != nil {
			p.service.now = p
			k.start(l, p, p.service)
		} else if p.waiting != nil && kind != kindWait {
			p.started = k.add(l, p, kindStart, p.waiting, "")
			p.waiting = nil
		}
	} else if first && !l.systemd && l.role != detail && (!l.about() && l.role != worker || l.role == worker && l.about()) {
		if kind == kindStart && !l.about() {
			k.start(l, p, p.service)
		}
		p.service.now = p
	}
	if l.rule != nil && !l.about() && (p.exit != nil || p.crashed) && l.role != detail && (kind == kindSignal || kind == kindStop || kind == kindFailure && (p.exit == nil || l.at.After(p.exit.Time))) {
		p.again() // it has started again, and said nothing of that
	}
	s := k.serve(l, p, kind)
	switch kind {
	case kindOrder:
		k.order(l, p)
	case kindSignal, kindStop:
		k.stop(l, p)
	case kindFailure:
		k.fail(l, p)
	case kindDrain, kindPhase, kindStep, drainOver:
		k.drain(l, p, kind)
	case kindExit:
		k.exit(l, p)
	case kindWait:
		k.wait(l, p)
	case kindStart:
		k.starts(l, p, first)
	case kindCut, kindReconnect, asks, kindAnswer, over, leaves:
		if s == nil {
			k.lose(l, p, kind)
		} else {
			k.stream(s, l, p, kind)
		}
	case nothing:
		if l.isError && l.attrs != nil && p.ending(l.at) != nil && p.exit == nil {
			k.add(l, p, kindFailure, p.latest, "")
		}
	}
}

// twin reports whether l, which has no clock and no writer of its own, is a copy
// of a line just before it that has.
func (k *linker) twin(l *line) bool {
	key := strings.Join([]string{strconv.Itoa(l.in.number), l.ruleName(), l.of, l.needs, l.signal, l.status, l.why}, "\x00")
	if e, ok := k.told.get(key); ok && l.loose && l.within(e.seen, passing) {
		e.also(l)
		return true
	}
	k.twinKey = key
	return false
}

// detail notes a line that adds to what was told. It returns false if nothing was.
func (k *linker) detail(l *line, events ...*Event) bool {
	if e := k.stopped; e != nil && e.Input == l.in.Name && strings.HasPrefix(e.Process.Name, l.who) && l.after(e, serving) {
		events = append(events, e)
	}
	for _, e := range events {
		if e != nil && l.after(e, serving) && e.Kind != kindStart && e.Kind != kindOrder {
			e.also(l)
			return true
		}
	}
	return false
}

// balance counts what a process has opened and not closed.
func (k *linker) balance(l *line, p *Process) {
	if n, by := balance(l.msg); by != 0 && (l.kind == nothing || l.kind == over) && len(p.left) < 100 {
		p.left[n] += by
	}
}

// starts is what is said of a start, by the process or its supervisor.
func (k *linker) starts(l *line, p *Process, first bool) {
	sv := k.service(cmp.Or(l.of, p.Name))
	switch {
	case l.child > 1:
		q := k.target(l, p)
		if q == p { // a worker, about itself
			sv = p.service
		} else if l.of == "" {
			sv = q.service
		}
		sv.now = q
		if l.role == worker && sv.from != nil && sv.from.parent != q.parent { // of another parent
			sv.next, sv.from, sv.more = nil, nil, nil
		}
		k.start(l, q, sv)
		if q.started == nil && q.parent != nil && l.after(q.parent.reload, serving) {
			q.started = k.add(l, q, kindStart, q.parent.reload, byParent)
		}
	case l.about():
		k.start(l, p, sv)
		if sv.now == nil || sv.now.exit != nil {
			sv.now = k.process("unit "+sv.name, l.of, 0, time.Time{})
			sv.now.first, sv.now.service = l.at, sv
		}
		sv.now.started = cmp.Or(sv.next, sv.now.started)
	case p.waiting != nil:
		p.started = k.add(l, p, kindStart, p.waiting, "")
		p.waiting, p.exit, p.stop, p.latest = nil, nil, nil, nil
		sv.next = nil
	case !first && p.service.next != nil && p.exit != nil: // the same number, or none
		p.service.from = nil
		p.exit, p.stop, p.latest, p.failed = nil, nil, nil, false
		k.start(l, p, p.service)
	case l.role == sole && l.pid == 0 && !p.lastStart.IsZero() && l.at.Sub(p.lastStart) > passing, l.role == sole && first && p.unseen():
		p.started = k.add(l, p, kindStart, nil, "")
		p.started.Text += ", and no line tells how the one before ended"
		p.started.chain.Failures++
		p.exit, p.stop, p.latest = nil, nil, nil
	}
	p.childBad = nil
	p.lastStart, p.service.before = l.at, p
	if p.started != nil {
		k.begun = p.started
	}
	sv.up, p.up = l.at, l.at
}

// unseen reports whether the process in whose place p is has ended without a word.
func (p *Process) unseen() bool {
	b := p.service.before
	return b != nil && b != p && b.exit == nil && b.stop == nil
}

// start is the first line of a process, or what a supervisor says of its start:
// the one that comes first is the event, if it follows an end.
func (k *linker) start(l *line, p *Process, sv *service) {
	next := sv.follow(p, l.at)
	if next == nil {
		return
	}
	if next.Kind == kindWait && next.Until.IsZero() {
		next.Until = l.at
	}
	switch {
	case l.about() && l.child == 0: // the process's own lines are still to come
		if next.Kind != kindStart {
			sv.next = k.add(l, p, kindStart, next, "")
		} else {
			next.also(l)
		}
		return
	case l.kind == kindWait:
		p.waiting = next
	case next.Kind == kindStart:
		p.started = next
	default:
		p.started = k.add(l, p, kindStart, next, "")
	}
	from := sv.from
	sv.took()
	p.first = cmp.Or(p.first, l.at)
	if from != nil {
		k.succeed(from, p, l.at)
	}
}

// order is a signal, or a stop, for another process.
func (k *linker) order(l *line, p *Process) {
	o := order{signal: l.signal, to: k.target(l, p)}
	if o.to == p && l.rule != nil {
		o.to, o.all = nil, p
	}
	if l.of != "" && (l.child == 0 || l.systemd) {
		o.of = k.service(l.of)
	}
	if l.rule == nil && o.to != nil {
		o.of = nil
	}
	if o.at = o.of; o.to != nil {
		o.at = o.to.service
	}
	if b := k.same(l, p, o); b != nil { // told before
		b.also(l)
		return
	}
	cause, rule := k.passed(l, passing, func(b order) bool {
		return b.Process != p && (b.to != nil && b.to == o.to || b.at != nil && b.at == o.at)
	}), byOrder
	switch {
	case cause != nil:
	case o.of != nil && l.after(o.of.ordered, follow) && o.of.ordered.Process == p:
		cause, rule = o.of.ordered, byDisobeyed
	case l.rule != nil && l.signal == "SIGKILL" && o.of != nil && l.systemd && k.oom(l) != nil:
		cause, rule = k.oom(l), byKernel
	case p.childBad != nil && o.all == p && l.after(p.childBad, sending):
		cause, rule = p.childBad, byChild
	case l.after(p.fault, follow) && (p.faultOf == "" || p.faultOf == l.of):
		cause, rule = p.fault, byFault
	case o.to != nil && o.to.parent != nil && l.after(o.to.parent.stop, serving):
		if cause, rule = o.to.parent.stop, byParent; o.to.parent == p {
			rule = byOwnStop
		}
	case p.ending(l.at) != nil && !l.systemd:
		cause, rule = p.latest, byOwnStop
	case l.rule == nil:
		name := ""
		if o.to != nil {
			name = o.to.Name
		}
		cause, rule = k.unanswered(l, cmp.Or(l.of, name), o.to)
	}
	o.Event = k.add(l, p, kindOrder, cause, rule)
	if l.rule != nil && o.to != nil && o.to != p {
		o.Event.about = o.to.Label()
		if abrupt(l.signal) && !l.systemd { // whose manager tells of its end
			o.to.fails(o.Event)
		}
	}
	k.orders = append(k.orders, o)
	if len(k.orders) > 64 {
		k.orders = slices.Delete(k.orders, 0, 32)
	}
	if o.of != nil && l.rule != nil {
		o.of.ordered = o.Event
		if o.of.next == nil || o.of.next.Kind == kindStart {
			o.of.next, o.of.from = o.Event, nil
		}
		o.of.stop = o.Event
		k.stopped = o.Event
	}
}

// same returns the order that l tells again: of one writer, about the same one.
func (k *linker) same(l *line, p *Process, o order) *Event {
	if l.rule == nil {
		return nil
	}
	for i, b := range slices.Backward(k.orders) {
		if b.Process != p || l.at.Sub(b.Time) > passing {
			continue
		}
		sameOf := b.of != nil && (b.of == o.of || l.of != "" && b.of == k.service(l.of))
		if sameOf && b.of.ordered == nil { // it has ended since
			continue
		}
		if sameOf || b.to != nil && b.to == o.to {
			if b.signal == o.signal || b.signal == "" && l.rule.Name != b.rule && (l.signal == "SIGKILL" && strings.Contains(b.Text, "timed out")) {
				k.orders[i].signal = o.signal
				return b.Event
			}
		}
	}
	return nil
}

// oom returns the kernel's kill that a supervisor's line is about, as far as time
// tells.
func (k *linker) oom(l *line) *Event {
	for _, b := range slices.Backward(k.orders) {
		if b.Process.Name == "kernel" && l.at.Sub(b.Time) <= 2*time.Second {
			return b.Event
		}
	}
	return nil
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
	within := sending
	if l.kind == kindExit && l.rule != nil {
		within = 2 * serving
	}
	return k.passed(l, within, func(b order) bool {
		return b.to != nil && b.to == p || b.of != nil && b.of == p.service || b.all != nil && b.all == p.parent && !b.all.up.After(b.Time) ||
			b.Session != "" && b.Session == p.Session
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
	if s, ok := k.sessions.get(session); ok && s.cutBy != nil && l.after(s.since(), follow) {
		return s.since(), byCutBefore
	}
	if name == "" {
		return nil, ""
	}
	if sv := k.service(name); sv.stop != nil && sv.stop.chain.owed > 0 && l.after(sv.stop, follow) {
		return sv.stop, byOpen
	}
	return nil, ""
}

// stop is why a process ends: a signal, or that it wants to.
func (k *linker) stop(l *line, p *Process) {
	if l.role == detail {
		k.detail(l, p.stop)
		return
	}
	if b := p.stop; l.rule != nil && b != nil && p.exit == nil && l.role != reload {
		again := l.kind == kindSignal && l.signal != "" && b.Kind == kindSignal
		switch {
		case again && b.signal == l.signal && l.at.Sub(b.Time) < 2*time.Second && k.sent(l, p) == nil,
			l.kind == kindStop && l.after(p.latest, follow), !again && l.at.Sub(b.Time) < passing:
			b.also(l)
			return
		}
	}
	failed := strings.HasPrefix(l.attrs["cause"], "lifecycle: task ") // the stop may come first
	cause, rule := k.why(l, p, l.kind, failed)
	e := k.add(l, p, l.kind, cause, rule)
	e.signal = l.signal
	if l.role == reload {
		p.reload = e
		return
	}
	k.ends(p, e)
}

// fail is a failure: of the writer, or of the one that it is about.
func (k *linker) fail(l *line, p *Process) {
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
		for _, e := range []*Event{q.exit, q.fault, q.stop, p.fault, p.lost} {
			if l.after(e, passing) {
				e.also(l)
				return
			}
		}
		if !l.about() && k.detail(l) {
			return
		}
	}
	var cause *Event
	var rule string
	switch {
	case l.needs != "" && l.about() && l.after(k.faulted, passing) && k.faulted.Process != q:
		cause, rule = k.faulted, byNeedTime
	case l.systemd && q.service.next != nil && q.service.next.Kind != kindStart && l.after(q.service.next, follow):
		cause, rule = q.service.next, ""
	case q == nil || q == p && l.program == "kubelet":
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
func (k *linker) again(l *line, p *Process) bool {
	e, ok := k.told.get(l.again(p))
	if !ok || !l.within(e.seen, follow/3) || p.up.After(e.seen) || p.service.up.After(e.seen) && l.kind == kindWait {
		return false
	}
	e.Times++
	e.also(l)
	return true
}

// again is what a line and a later one that tells the same have in common.
func (l *line) again(p *Process) string {
	return strings.Join([]string{l.rule.Name, p.key, l.of, l.needs, l.addr, l.why}, "\x00")
}

// why returns the cause of p's stop or end: what comes after its stop is an effect
// of that, but for a signal, which has a sender.
func (k *linker) why(l *line, p *Process, kind Kind, failed bool) (*Event, string) {
	sent, ending := k.sent(l, p), p.ending(l.at)
	switch {
	case sent != nil && (ending == nil || kind == kindSignal || l.rule != nil && kind == kindExit && sent.Time.Sub(ending.Time) > early):
		return sent, bySignal
	case ending != nil:
		return ending, ""
	case p.parent != nil && l.after(p.parent.reason(), serving):
		return p.parent.reason(), byParent
	case (kind == kindExit || kind == kindFailure) && l.after(p.childBad, sending), kind == kindStop && l.after(p.childBad, passing):
		return p.childBad, byChild
	case failed && p.started != nil && l.after(p.started, l.relapse()):
		return p.started, byLife
	}
	if l.rule != nil && l.session == "" && p.Session == "" {
		return nil, ""
	}
	return k.unanswered(l, p.Name, p)
}

// relapse is how long after a start a failure is taken for the same trouble: not
// long if it was a signal from outside.
func (l *line) relapse() time.Duration {
	if l.rule != nil && (l.signal == "SIGKILL" || l.signal == "SIGTERM") {
		return sending
	}
	return follow
}

// reason is why the children of a process end.
func (p *Process) reason() *Event { return cmp.Or(p.stop, p.reload) }

// ends notes that p is ending, because of e.
func (k *linker) ends(p *Process, e *Event) {
	if p.stop == nil || e.Kind == kindFailure {
		p.stop = e
	}
	sv := p.service
	sv.stop = e
	sv.ended(p, e)
	k.stopped = e
}

// drain is a line of a drain plan.
func (k *linker) drain(l *line, p *Process, kind Kind) {
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

// exit is the end of a process, told by itself, its supervisor or its ledger.
func (k *linker) exit(l *line, p *Process) {
	q := k.target(l, p)
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
			e.also(l)
		}
		return
	}
	bad := l.signal != "" || l.status != "" && l.status != "0" && l.status != "ended"
	cause, rule := k.why(l, p, kindExit, bad)
	if bad && l.rule != nil && cause != nil && cause.asked(l.signal) {
		bad = false
	}
	e := k.add(l, p, kindExit, cause, rule)
	e.harm = bad
	p.exit, p.last = e, l.at
	p.service.ended(p, e)
	p.stop = cmp.Or(p.stop, e)
	if l.rule != nil {
		k.stopped = e
		p.service.stop = e
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
func (e *Event) asked(signal string) bool {
	return (signal == "SIGTERM" || signal == "SIGINT" || signal == "SIGHUP") && (e.Kind == kindOrder || e.Kind == kindSignal || e.Kind == kindStop) && !abrupt(e.signal)
}

// wait is the time between an end and a start, or between two runs of a task.
func (k *linker) wait(l *line, p *Process) {
	if l.rule != nil && k.again(l, p) {
		return
	}
	sv := k.service(cmp.Or(l.of, p.Name))
	at, cause, rule := &p.retry, p.started, byLife
	switch {
	case l.needs != "" && l.after(p.lost, follow):
		at, cause, rule = &p.retry, p.lost, byLost
	case p.waiting != nil:
		at, cause, rule = &p.waiting, p.waiting, ""
	case l.of != "" && sv.next != nil && sv.next.Kind == kindWait && l.rule != nil && l.after(sv.next, passing):
		sv.next.also(l)
		return
	case l.of != "" && sv.next != nil:
		at, cause, rule = &sv.next, sv.next, ""
	case l.of != "":
		at, cause, rule = &sv.next, nil, ""
	case l.rule != nil && p.childBad != nil && l.after(p.childBad, serving):
		at, cause, rule = &p.waiting, p.childBad, byChild
	case p.retry != nil && l.after(p.retry, follow):
		cause, rule = p.retry, byRetry
	}
	e := k.add(l, p, kindWait, cause, rule)
	*at = e
	if l.rule != nil {
		k.told.put(l.again(p), e)
	}
	if l.took > 0 {
		e.Until = l.at.Add(l.took)
	}
}
