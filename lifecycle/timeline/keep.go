package timeline

import (
	"path/filepath"
	"slices"
	"strings"
)

const (
	mostEvents = 5000
	mostUnread = 100
)

// keep puts an event into its chain. Where there is no room, the oldest half of
// the chains that cost nothing makes some; where that is not enough, e is not
// kept, though its effects still are tied to its chain.
func (t *Timeline) keep(e *Event) {
	if t.spare <= 0 && !t.full {
		t.forget()
	}
	c := e.chain
	if t.spare <= 0 || c.forgotten {
		t.Forgotten++
		e.Cause = nil // which may be forgotten too
		return
	}
	if len(c.Events) == 0 {
		t.Chains = append(t.Chains, c)
	}
	c.Events = append(c.Events, e)
	t.spare--
}

func (t *Timeline) forget() {
	half := (len(t.Chains) + 1) / 2
	kept := slices.DeleteFunc(t.Chains[:half:half], func(c *Chain) bool {
		if c.Costly() {
			return false
		}
		c.forgotten = true
		t.Forgotten += len(c.Events)
		t.spare += len(c.Events)
		return true
	})
	t.full = len(kept) == half
	t.Chains = append(kept, t.Chains[half:]...)
}

func (t *Timeline) lost(u Unread) {
	if len(t.Unread) == mostUnread {
		t.MoreUnread++
		return
	}
	t.Unread = append(t.Unread, u)
}

// list is a line's attributes, sorted.
func (l *line) list() []string {
	var list []string
	for key, value := range l.attrs {
		if key != "level" || len(value) < 3 { // slog's level; a policy's is a number
			list = append(list, key+"="+value)
		}
	}
	slices.Sort(list)
	return list
}

func baseName(name string) string {
	name = filepath.Base(name)
	return strings.TrimSuffix(name, filepath.Ext(name))
}
