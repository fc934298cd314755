package timeline

import (
	"cmp"
	"strings"
	"time"
)

// lose is a line about a connection that belongs to no session: what a process
// depends on is gone, or is there again.
func (k *linker) lose(l *line, p *process, kind eventKind) {
	switch kind {
	case kindCut:
		if k.again(l, p) {
			return
		}
		cause, rule := k.loser(l, p)
		e := k.add(l, p, kindCut, cause, rule)
		e.chain.Lost++
		k.told.put(l.again(p), e)
		p.lost, p.needs = e, l.dependency()
	case kindReconnect:
		if p.lost == nil {
			return
		}
		e := k.add(l, p, kindReconnect, cmp.Or(p.retryOf(p.lost), p.lost), byLost)
		if up, rule := k.back(l, p); up != nil {
			e.because(up, rule)
		}
		p.lost, p.retry, p.up = nil, nil, l.at
	}
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
		if r := e.reason(); l.after(r, sending) {
			return r, byParent
		}
		if l.after(e.childBad, sending) {
			return e.childBad, bySibling
		}
	}
	if e := p.ending(l.at); e != nil {
		return e, ""
	}
	if sv := k.dependency(l.dependency()); sv != nil && l.after(sv.stop, serving) {
		return sv.stop, byNeed
	}
	if e := k.stopped; l.after(e, nearby/3) && e.Process != p && e.Process.service != p.service && !e.Process.service.up.After(e.Time) && (e.Process.parent == nil || e.Process.parent != p) {
		return e, byLatest
	}
	if l.needs == "its worker" && l.after(k.stopped, sending) {
		return k.stopped, byLatest
	}
	return nil, ""
}

// back returns the start of what p had lost.
func (k *linker) back(l *line, p *process) (*event, string) {
	if sv := k.dependency(cmp.Or(l.dependency(), p.needs)); sv != nil && sv.now != nil && l.after(sv.now.started, serving) && !sv.now.started.Time.Before(p.lost.Time) {
		return sv.now.started, byBack
	}
	if e := k.begun; l.after(e, nearby/3) && e.Process != p && e.Time.After(p.lost.Time.Add(-time.Second)) {
		return e, byBackTime
	}
	return nil, ""
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
	if name == "" {
		return nil
	}
	if sv, ok := k.services.get(canonical.ReplaceAllString(name, "")); ok {
		return sv
	}
	return nil
}
