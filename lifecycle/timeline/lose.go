package timeline

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// lose is a line about a connection that belongs to no session: what a process
// depends on is gone, or is there again.
func (k *linker) lose(l *line, p *process, kind eventKind) {
	switch kind {
	case kindCut:
		cause, rule := k.loser(l, p)
		b, ok := k.told.get(l.again(p))
		if after := ok && cause != nil && cause.Time.After(b.seen); !after && k.again(l, p) {
			b.chain.Lost++
			return
		}
		e := k.add(l, p, kindCut, cause, rule)
		e.chain.Lost++
		k.told.put(l.again(p), e)
		p.lost = append(p.lost[max(0, len(p.lost)-15):], loss{e, l.dependency(), l.addr})
	case kindReconnect:
		if len(p.lost) == 0 {
			return
		}
		i := slices.IndexFunc(p.lost, func(b loss) bool { return b.needs == l.dependency() })
		if i < 0 {
			i = len(p.lost) - 1
		}
		b := p.lost[i]
		e := k.add(l, p, kindReconnect, cmp.Or(p.retryOf(b.event), b.event), byLost)
		if up, rule := k.back(l, p, b); up != nil {
			e.because(up, rule)
		}
		p.lost, p.retry, p.up = slices.Delete(p.lost, i, i+1), nil, l.at
	}
}

// A loss is what a process depends on and has lost, by name and address.
type loss struct {
	*event
	needs, addr string
}

// lostLast returns the latest loss of what p depends on.
func (p *process) lostLast() *event {
	if n := len(p.lost); n > 0 {
		return p.lost[n-1].event
	}
	return nil
}

// retryOf returns the wait that followed a loss.
func (p *process) retryOf(lost *event) *event {
	if p.retry != nil && len(p.retry.Causes) > 0 && p.retry.Causes[0].event == lost {
		return p.retry
	}
	return nil
}

// loser returns what took away the connection.
func (k *linker) loser(l *line, p *process) (*event, string) {
	if sent := k.sent(l, p); sent != nil {
		return sent, bySignal
	}
	if e := p.parent; e != nil {
		if r := e.reason(); l.after(r, sending) && (r.Input != l.in.Name || r.Line < l.n) {
			return r, byParent
		}
		if l.after(e.childBad, sending) {
			return e.childBad, bySibling
		}
	}
	if e := p.ending(l.at); e != nil {
		return e, ""
	}
	named := k.dependency(l.dependency())
	if named != nil && l.after(named.stop, serving) {
		return named.stop, byNeed
	}
	if named != nil && named.now != nil && l.after(named.now.childBad, sending) {
		return named.now.childBad, byNeedChild
	}
	if sv := k.listener(l.addr); sv != nil && sv != p.service {
		if l.after(sv.stop, serving) {
			return sv.stop, byAddr
		}
		if sv.now != nil && l.after(sv.now.childBad, sending) {
			return sv.now.childBad, byAddrChild
		}
	}
	if e := k.stopped; named == nil && l.after(e, nearby/3) && e.Process != p && e.Process != p.parent && e.Process.service != p.service && !e.Process.service.up.After(e.Time) && (e.Process.parent == nil || e.Process.parent != p) {
		return e, byLatest
	}
	if l.needs == "its worker" && l.after(k.stopped, sending) {
		return k.stopped, byLatest
	}
	return nil, ""
}

// back returns the start of what p had lost.
func (k *linker) back(l *line, p *process, b loss) (*event, string) {
	started := func(sv *service) *event {
		if sv != nil && sv.now != nil && sv.now != p && l.after(sv.now.started, serving) && !sv.now.started.Time.Before(b.Time) {
			return sv.now.started
		}
		return nil
	}
	named := k.dependency(cmp.Or(l.dependency(), b.needs))
	if e := started(named); e != nil {
		return e, byBack
	}
	if e := started(k.listener(cmp.Or(l.addr, b.addr))); e != nil {
		return e, byAddrBack
	}
	if e := k.begun; named == nil && l.after(e, nearby/3) && e.Process != p && e.Time.After(b.Time.Add(-time.Second)) {
		return e, byBackTime
	}
	return nil, ""
}

// listens notes who has an address. Processes of several names that have the same
// port are on several machines, or in several containers.
func (k *linker) listens(l *line, p *process) {
	port := l.addr[strings.LastIndexByte(l.addr, ':')+1:]
	sv := p.service
	if before, ok := k.ports.get(port); ok && before != sv {
		sv = nil
	}
	k.ports.put(port, sv)
}

// listener returns the service at an address: of the host's name, or at its port.
func (k *linker) listener(addr string) *service {
	i := strings.LastIndexByte(addr, ':')
	if sv := k.dependency(addr[:max(i, 0)]); sv != nil {
		return sv
	}
	sv, _ := k.ports.get(addr[i+1:])
	return sv
}

// drivers are the libraries whose errors name what was lost.
var drivers = map[string]string{
	"redis": "redis", "kombu": "rabbitmq", "amqp": "rabbitmq", "pika": "rabbitmq", "psycopg": "postgres", "psycopg2": "postgres", "asyncpg": "postgres",
	"pymysql": "mysql", "MySQLdb": "mysql", "etcd3": "etcd",
}

// dependency is the name of what a line says was lost.
func (l *line) dependency() string {
	library, _, _ := strings.Cut(l.why, ".")
	return cmp.Or(drivers[library], l.needs)
}

// dependency returns the service of a name, if there is one.
func (k *linker) dependency(name string) *service {
	if name = name[strings.LastIndexByte(name, '/')+1:]; name == "" { // haproxy writes backend/server
		return nil
	}
	if sv, ok := k.services.get(canonical.ReplaceAllString(name, "")); ok {
		return sv
	}
	return nil
}
