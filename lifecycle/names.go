package lifecycle

import (
	"context"
	"sync/atomic"

	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// named is the context of tasks of one name, labelled with it, in a list.
type named struct {
	context.Context
	name  string
	next  *named
	n     int           // the length of the list
	live  *atomic.Int64 // tasks that run, of the name or of all others
	count atomic.Int64  // where live points, unless it is one of the others
}

// maxNames bounds the labelled contexts of a group: names should be few. Tasks of
// further names share the label and the count of others.
const (
	maxNames = 64
	others   = "(others)"
)

func (t *tasks) named(name string) *named {
	for {
		head := t.names.Load()
		for n := head; n != nil; n = n.next {
			if n.name == name {
				return n
			}
		}
		n := &named{name: name, next: head, n: 1}
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
