package lifecycle

import (
	"context"
	"sync/atomic"

	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// named is the context that the tasks of one name share, labelled with the name. It
// is an element of a list.
type named struct {
	context.Context
	tasks *tasks
	name  string
	next  *named
	n     int           // the length of the list from here on
	live  *atomic.Int64 // running tasks: &count, or that of others
	count atomic.Int64
}

// maxNames bounds the labelled contexts of a group. Tasks of further names share the
// label and the count of others.
const (
	maxNames = 64
	others   = "(others)"
)

// named returns the context for a name, and makes it for the first task of the name.
func (t *tasks) named(name string) *named {
	for {
		head := t.names.Load()
		for n := head; n != nil; n = n.next {
			if n.name == name {
				return n
			}
		}
		n := &named{tasks: t, name: name, next: head, n: 1}
		if head != nil {
			n.n += head.n
		}
		if n.n > maxNames && name != others {
			o := t.named(others)
			n.Context, n.live = o.Context, o.live
			return n
		}
		n.Context, n.live = labels.With(t, t.owner, name), &n.count
		if t.names.CompareAndSwap(head, n) {
			return n
		}
	}
}
