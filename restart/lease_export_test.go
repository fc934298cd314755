package restart

import "time"

// SetUptime replaces the machine's clock that goes on while the machine sleeps.
func (l *Lease) SetUptime(up func() time.Duration) {
	l.up = func() (time.Duration, bool) { return up(), true }
}
