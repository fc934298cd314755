package timeline

import (
	"cmp"
	"slices"
	"time"
)

// An order is a signal on its way.
type order struct {
	*event
	signal string
	to     *process // if it is known
	of     *service // if it is for a service, not for a process alone
	at     *service // the one that it is about, in any case
	all    *process // whose children it is for
}

// order is a signal, or a stop, for another process.
func (k *linker) order(l *line, p *process) {
	o := order{signal: l.signal, to: k.target(l, p)}
	if o.to == p && l.rule != nil {
		o.to, o.all = nil, p
	}
	if o.to == nil && o.all == nil && l.rule != nil && abrupt(l.signal) && !l.systemd && l.of != "" {
		o.to = k.subject(l, p)
	}
	if l.of != "" && (l.child == 0 || l.systemd || l.rule != nil && o.to != nil && o.to.first.IsZero() && k.service(l.of).now != nil) { // its lines may have no number
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
	if cause == nil && l.systemd && l.signal == "SIGKILL" && (o.of == nil || o.of.ordered == nil) {
		cause, rule = k.passed(l, 2*passing, func(b order) bool { return b.Process.Name == "kernel" }), byKernel
	}
	switch {
	case cause != nil:
	case o.at != nil && l.after(o.at.ordered, follow) && o.at.ordered.Process == p:
		cause, rule = o.at.ordered, byDisobeyed
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
	o.event = k.add(l, p, kindOrder, cause, rule)
	if l.rule != nil && o.to != nil && o.to != p {
		o.event.about = o.to.Label()
		if abrupt(l.signal) && !l.systemd { // whose manager tells of its end
			o.to.fails(o.event)
			o.counted = true
		}
	}
	k.orders = append(k.orders, o)
	if len(k.orders) > 64 {
		k.orders = slices.Delete(k.orders, 0, 32)
	}
	if o.of != nil && l.rule != nil {
		o.of.ordered = o.event
		if o.of.next == nil || o.of.next.Kind == kindStart {
			o.of.next, o.of.from = o.event, nil
		}
		o.of.stop = o.event
		k.stopped = o.event
	}
}

// same returns the order that l tells again: of one writer, about the same one.
func (k *linker) same(l *line, p *process, o order) *event {
	if l.rule == nil {
		return nil
	}
	for _, b := range slices.Backward(k.orders) {
		within := passing
		if b.signal == "" && b.rule == l.rule.Name {
			within = sending
		}
		if b.Process != p || l.at.Sub(b.Time) > within {
			continue
		}
		sameOf := b.of != nil && (b.of == o.of || l.of != "" && b.of == k.service(l.of))
		if sameOf && b.of.ordered == nil { // it has ended since
			continue
		}
		if sameOf || b.to != nil && b.to == o.to {
			if b.signal == o.signal {
				return b.event
			}
		}
	}
	return nil
}

// passed returns the latest order of l's signal that fits.
func (k *linker) passed(l *line, within time.Duration, fits func(order) bool) *event {
	for _, b := range slices.Backward(k.orders) {
		if l.at.Sub(b.Time) <= within && (b.signal == l.signal || b.signal == "" || l.signal == "") && fits(b) {
			return b.event
		}
	}
	return nil
}

// sent returns the order that was for p.
func (k *linker) sent(l *line, p *process) *event {
	within := sending
	if l.kind == kindExit && l.rule != nil {
		within = 2 * serving
	}
	return k.passed(l, within, func(b order) bool {
		return b.to != nil && b.to == p || b.of != nil && b.of == p.service || b.all != nil && b.all == p.parent && !b.all.up.After(b.Time) ||
			b.Session != "" && b.Session == p.Session
	})
}
