package timeline

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A service is the processes of one name.
type service struct {
	name    string
	now     *process // the one that began last
	before  *process // that said so itself
	stop    *event   // the latest
	ordered *event   // the latest order for it
	next    *event   // what the next start follows; nil once it has
	from    *process // whose end that is
	more    []end    // of other processes at the same time, which starts follow in turn
	up      time.Time
	runs    bool // systemd has started it, and not only a job
}

type end struct {
	*event
	p *process
}

// ended notes an end, which the next start follows.
func (sv *service) ended(p *process, e *event) {
	if sv.next != nil && sv.from != nil && sv.from != p && sv.next.Kind == kindExit && len(sv.more) < 64 && (e.Kind == kindExit || e.Kind == kindFailure && p.first.IsZero()) {
		if n := len(sv.more); n > 0 && sv.more[n-1].p == p {
			sv.more = sv.more[:n-1]
		}
		sv.more = append(sv.more, end{e, p})
		return
	}
	sv.next, sv.from = e, p
	if e.Kind == kindExit {
		sv.ordered = nil
	}
}

// took notes that a start has followed.
func (sv *service) took() {
	sv.next, sv.from = nil, nil
	if len(sv.more) > 0 {
		sv.next, sv.from, sv.more = sv.more[0].event, sv.more[0].p, sv.more[1:]
	}
}

// follow returns what a start at this time follows: it is not that of p's own end.
func (sv *service) follow(p *process, at time.Time) *event {
	if sv.next == nil || sv.from == p || at.Sub(sv.next.Time) > follow {
		return nil
	}
	return sv.next
}

// canonical is what the names of one service have in common.
var canonical = regexp.MustCompile(`(?:-server|-daemon|\.service|\.scope|\.sh|\.py|\.js)$`)

// synonyms are names of programs whose logs have another: of units, commands and files.
var synonyms = map[string]string{"mysqld": "mysql", "mariadbd": "mysql", "mariadb": "mysql", "postgresql": "postgres", "apache2": "apache", "httpd": "apache"}

// service returns the service of a name; one that has a description too is found
// by that.
func (k *linker) service(name string) *service {
	key := canonical.ReplaceAllString(strings.ToLower(name), "")
	key = cmp.Or(synonyms[key], key)
	if sv, ok := k.services.get(key); ok {
		return sv
	}
	for _, n := range k.names {
		if sv, ok := k.services.get(n); ok && (describes(n, key) || describes(key, n)) {
			k.services.put(key, sv)
			return sv
		}
	}
	if k.names = append(k.names, key); len(k.names) > 64 {
		k.names = slices.Delete(k.names, 0, 32)
	}
	sv := &service{name: key}
	k.services.put(key, sv)
	return sv
}

// describes reports whether a description, as of a unit, names a service.
func describes(text, name string) bool {
	if !strings.Contains(text, " ") || strings.Contains(name, " ") || strings.HasSuffix(text, " worker") {
		return false
	}
	return slices.ContainsFunc(strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '@' || r == '.' }), func(word string) bool {
		return len(word) >= 3 && strings.Contains(text, word)
	})
}

// process returns the process of a key. One that has exited is another one's,
// which was given its number.
func (k *linker) process(key, name string, pid int, at time.Time) *process {
	p, ok := k.processes.get(key)
	if !ok || p.exit != nil && (at.IsZero() || at.Sub(p.exit.Time) > passing) && !strings.HasPrefix(key, "pid ") || p != nil && p.exit != nil && at.Sub(p.exit.Time) > reuse {
		p = &process{Name: name, PID: pid, key: key, service: k.service(name), left: map[noun]int{}}
		k.processes.put(key, p)
	}
	return p
}

// writer returns the process that wrote a line, and whether it is the first one.
func (k *linker) writer(l *line) (p *process, first bool) {
	name := cmp.Or(l.who, baseName(l.in.Name))
	at := l.at
	if l.msg == "run ended" { // the next run has written it for one that died
		at = time.Time{}.Add(time.Nanosecond)
	}
	var parent *process
	own := l.role == worker && (l.child == 0 || l.child == l.pid)
	if own {
		parent = k.service(name).now
		name += " worker"
	}
	key := l.in.process(l)
	if l.rule == nil && l.pid > 1 {
		if p, ok := k.processes.get(key); ok && p.exit != nil && at.Sub(p.exit.Time) > passing {
			k.processes.put(key, &process{Name: name, PID: l.pid, key: key, service: k.service(name), left: map[noun]int{}})
		}
	}
	p = k.process(key, name, l.pid, at)
	if own && p.parent == nil && parent != p {
		p.parent = parent
		if p.first.IsZero() {
			p.named = true
		}
	}
	if l.who != "" && !p.named {
		p.Name, p.service, p.named = name, k.service(name), true
	}
	if first = p.first.IsZero(); first {
		if l.box != "" && !own && !l.loose {
			k.boxes.put(l.box, p)
		}
		p.first, p.input = l.at, l.in.number
		if l.of == "" && l.child == 0 {
			p.Session = l.session
		}
	} else if p.Session != l.session {
		p.Session = "" // it serves several
	}
	p.last = l.at
	return p, first
}

// about reports whether a line is about another process than its writer.
func (l *line) about() bool {
	return l.systemd || l.rule != nil && (l.of != "" || l.child > 1 && l.child != l.pid)
}

// target returns the process that a line is about: its writer, unless it names
// another one, which may be nil if it is not known.
func (k *linker) target(l *line, p *process) *process {
	switch {
	case l.child > 1 && l.child == l.pid:
		return p
	case l.child > 1:
		name := l.of
		if l.role == worker {
			name = cmp.Or(l.of, p.Name+" worker")
		}
		q := k.process(pidKey(l.box, l.child), cmp.Or(name, "pid"), l.child, l.at)
		if q.named = q.named || l.role == worker; l.role == worker && q.Name == p.Name { // a line names it
			q.Name, q.service, q.named, q.parent = name, k.service(name), true, p
		}
		if l.rule != nil && q != p && q.parent == nil && l.kind != kindOrder {
			q.parent = p
		}
		return q
	case l.session != "" && p.Session != l.session:
		return k.session(l.session).client
	case l.of != "":
		if q, ok := k.boxes.get(l.of); ok && l.rule != nil {
			return q
		}
		return k.service(l.of).now
	}
	return p
}

// subject is target, made if it is not known.
func (k *linker) subject(l *line, p *process) *process {
	if q := k.target(l, p); q != nil {
		return q
	}
	sv := k.service(l.of)
	q := k.process("unit "+sv.name, l.of, 0, time.Time{})
	q.service, sv.now, q.first = sv, q, l.at
	return q
}

// after reports whether a line comes after an event, and not long after.
func (l *line) after(e *event, within time.Duration) bool {
	return e != nil && l.at.Sub(e.Time) <= within
}

func (l *line) within(t time.Time, d time.Duration) bool { return l.at.Sub(t) <= d }

// A process is one that wrote lines, or that lines are about.
type process struct {
	Name    string
	PID     int    // 0 if it is not known
	Session string // whose own process it is; "" for a server

	key                string
	input              int       // of its first line
	first, last        time.Time // of its lines
	service            *service
	parent             *process
	stop, drain, phase *event // why it ends, and what it has come to
	latest             *event // since then
	exit, started      *event
	reload             *event // the latest, which ends its children
	childBad           *event // the latest bad end of a child
	fault              *event // the latest failure that it told
	faultOf            string // and of what
	lost               []loss // of what it depends on, until they are back
	lastStart, up      time.Time
	waiting            *event       // while its start is put off: the end before it, or its latest wait
	retry              *event       // its latest wait while it runs
	left               map[noun]int // what it has opened and not closed
	failed             bool
	crashed            bool // by what it wrote
	named              bool // by itself
}

// Label is the name of the process, with what tells it from others of that name.
func (p *process) Label() string {
	switch {
	case p.Session != "" && p.Session != p.Name:
		return p.Name + " " + p.Session
	case p.PID > 1:
		return p.Name + " " + strconv.Itoa(p.PID)
	}
	return p.Name
}

// again forgets the end of a process whose number, or lack of one, the next has.
func (p *process) again() {
	p.exit, p.stop, p.latest, p.started, p.drain, p.phase, p.fault = nil, nil, nil, nil, nil, nil, nil
	p.failed, p.crashed = false, false
	p.service.next, p.service.from = nil, nil
}

// fails counts a process that failed, once.
func (p *process) fails(e *event) {
	if !p.failed {
		p.failed = true
		e.chain.Failures++
	}
}

// ending returns the latest event of p's stop, unless it went on after that.
func (p *process) ending(at time.Time) *event {
	if p.latest == nil || at.Sub(p.latest.Time) > follow {
		return nil
	}
	return p.latest
}
