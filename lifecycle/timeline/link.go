package timeline

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// A linker takes the lines in their order and finds their chains. All that it
// knows about processes, services and sessions is bounded.
type linker struct {
	t         *Timeline
	processes *recent[string, *process]
	services  *recent[string, *service] // by the name that processes share
	names     []string                  // of the latest services, for those that have two
	sessions  *recent[string, *session]
	boxes     *recent[string, *process] // by container, its main process
	told      *recent[string, *event]   // what a later line may repeat
	ports     *recent[string, *service] // who listens; nil if several do
	orders    []order                   // the last few
	stopped   *event                    // the latest stop of any process
	begun     *event                    // the latest start
	faulted   *event                    // the latest failure that a supervisor told
	twinKey   string                    // of the line that is being taken
}

func newLinker() *linker {
	return &linker{
		t:         &Timeline{spare: mostEvents},
		processes: newRecent[string, *process](4096),
		services:  newRecent[string, *service](4096),
		sessions:  newRecent[string, *session](16384),
		boxes:     newRecent[string, *process](1024),
		told:      newRecent[string, *event](4096),
		ports:     newRecent[string, *service](1024),
	}
}

// take takes the next line.
func (k *linker) take(l *line) {
	p, first := k.writer(l)
	k.t.until = later(k.t.until, l.at)
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
		if sv := p.service; l.pid > 0 || sv.now == nil || sv.now.exit != nil { // else it is another line of that one
			sv.now = p
		}
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
	case kindListen:
		k.listens(l, p)
	case nothing:
		if l.severity() == 5 && l.attrs != nil && p.ending(l.at) != nil && p.exit == nil {
			k.add(l, p, kindFailure, p.latest, "")
		}
	}
}

// twin reports whether l, which has neither a clock nor a writer, is a copy
// of a line just before it that has.
func (k *linker) twin(l *line) bool {
	key := strings.Join([]string{strconv.Itoa(l.in.number), l.ruleName(), l.of, l.needs, l.signal, l.status, l.why}, "\x00")
	if e, ok := k.told.get(key); ok && l.loose && l.within(e.seen, passing) {
		e.also(l)
		return true
	}
	k.twinKey = key
	if e, ok := k.told.get(l.copy()); ok && e.Input != l.in.Name && l.within(e.seen, passing) {
		e.also(l) // of another input
		return true
	}
	return false
}

// copy is what a line has in common with its copy in another input.
func (l *line) copy() string {
	if l.pid <= 1 {
		return l.in.Name + "\x01" // none is looked for
	}
	return pidKey(l.box, l.pid) + "\x01" + l.msg
}

// detail notes a line that adds to an earlier event. It returns false if there is none.
func (k *linker) detail(l *line, events ...*event) bool {
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
func (k *linker) balance(l *line, p *process) {
	if n, by := balance(l.msg); by != 0 && (l.kind == nothing || l.kind == over) && len(p.left) < 100 {
		p.left[n] += by
	}
}

// starts is what is said of a start, by the process or its supervisor.
func (k *linker) starts(l *line, p *process, first bool) {
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
		sv.runs = sv.runs || strings.HasPrefix(l.msg, "Started ")
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
func (p *process) unseen() bool {
	b := p.service.before
	return b != nil && b != p && b.input == p.input && b.exit == nil && b.stop == nil
}

// start is the first line of a process, or what a supervisor says of its start:
// the one that comes first is the event, if it follows an end.
func (k *linker) start(l *line, p *process, sv *service) {
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

// unanswered returns what has no answer since an earlier stop: what happens now to the
// same service, or to a session, belongs to that. Not for ever: a session may
// never come back.
func (k *linker) unanswered(l *line, name string, p *process) (*event, string) {
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
func (k *linker) stop(l *line, p *process) {
	if l.role == detail {
		k.detail(l, p.stop)
		return
	}
	b := p.stop
	if b != nil && b.Kind == kindFailure { // it stops for that
		if b = p.latest; b != nil && b.Kind == kindFailure {
			b = nil
		}
	}
	if l.rule != nil && b != nil && p.exit == nil && l.role != reload {
		again := l.kind == kindSignal && l.signal != "" && b.Kind == kindSignal
		switch {
		case again && b.signal == l.signal && l.at.Sub(b.Time) < 2*time.Second && (k.sent(l, p) == nil || k.sent(l, p) == b.cause()),
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

// why returns the cause of p's stop or end: what comes after its stop is an effect
// of that, but for a signal, which has a sender.
func (k *linker) why(l *line, p *process, kind eventKind, failed bool) (*event, string) {
	sent, ending := k.sent(l, p), p.ending(l.at)
	switch {
	case sent != nil && (ending == nil || kind == kindSignal || l.rule != nil && kind == kindExit && sent.Time.Sub(ending.Time) > early):
		return sent, bySignal
	case ending != nil:
		return ending, ""
	case p.parent != nil && l.after(p.parent.reason(), serving):
		return p.parent.reason(), byParent
	case (kind == kindExit || kind == kindFailure) && l.after(p.childBad, sending), kind == kindStop && !l.loose && l.after(p.childBad, passing):
		return p.childBad, byChild
	case kind == kindExit && l.about() && l.after(p.service.stop, sending) && p.service.stop.Kind == kindFailure && p.service.stop.Process.PID == 0 && p.service.stop.Process.exit == nil:
		return p.service.stop, byFailure // its own log has no numbers
	case failed && p.started != nil && l.after(p.started, l.relapse()):
		return p.started, byLife
	}
	if l.rule != nil && l.session == "" && p.Session == "" {
		return nil, ""
	}
	return k.unanswered(l, p.Name, p)
}

// relapse is how long after a start a failure is taken for the same trouble: not
// at all if it was a signal from outside.
func (l *line) relapse() time.Duration {
	if l.rule != nil && (l.signal == "SIGKILL" || l.signal == "SIGTERM") {
		return -1
	}
	return follow
}

// reason is why the children of a process end.
func (p *process) reason() *event { return cmp.Or(p.stop, p.reload) }

// ends notes that p is ending, because of e.
func (k *linker) ends(p *process, e *event) {
	if p.stop == nil || e.Kind == kindFailure {
		p.stop = e
	}
	sv := p.service
	sv.stop = e
	sv.ended(p, e)
	k.stopped = e
}

// wait is the time between an end and a start, or between two runs of a task.
func (k *linker) wait(l *line, p *process) {
	if l.rule != nil && k.again(l, p) {
		return
	}
	sv := k.service(cmp.Or(l.of, p.Name))
	at, cause, rule := &p.retry, p.started, byLife
	switch {
	case l.needs != "" && l.after(p.lostLast(), follow):
		at, cause, rule = &p.retry, p.lostLast(), byLost
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
