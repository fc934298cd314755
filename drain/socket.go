package drain

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// passed are the sockets that systemd passed to this process, closed on exec
// and gone from the environment, so that children do not take them for theirs.
// A descriptor has one owner: the process, for all its servers. They stay open.
var passed = sync.OnceValue(func() []*os.File { return activation.Files(true) })

// activated returns the passed socket that listens on addr, or nil.
func activated(addr string) deadliner {
	for _, f := range passed() {
		l, err := net.FileListener(f) // a duplicate; its Close removes no file
		if err != nil {
			continue // what is passed may be something else
		}
		if d, ok := l.(deadliner); ok && listensOn(l.Addr(), addr) {
			return d
		}
		l.Close()
	}
	return nil
}

// listensOn compares by address, not by name: the same program then runs without
// systemd, and a process may have several servers.
func listensOn(a net.Addr, addr string) bool {
	got, ok := a.(*net.TCPAddr)
	if !ok {
		return a.String() == addr // a path
	}
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil || got.Port != want.Port {
		return false
	}
	everywhere := want.IP == nil || want.IP.IsUnspecified()
	return got.IP.Equal(want.IP) || everywhere && got.IP.IsUnspecified()
}

// A deadliner is a *net.TCPListener or a *net.UnixListener.
type deadliner interface {
	net.Listener
	SetDeadline(time.Time) error
}

// A listener hands out connections that the tracker knows. It can stop accepting
// before http.Server does, which takes an error of Accept for a failure.
type listener struct {
	net.Listener
	tracker *tracker
	kept    deadliner // the Listener, if systemd passed it and keeps it; else nil

	rested    event // rest was called
	lastGiven event // Accept has returned its last connection
	closed    event // Close was called
	closeOnce func() error
}

func newListener(l net.Listener, t *tracker) *listener {
	return &listener{Listener: l, tracker: t, rested: newEvent(), lastGiven: newEvent(), closed: newEvent(), closeOnce: sync.OnceValue(l.Close)}
}

// Accept does not return between rest and Close.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		return l.tracker.wrap(c), nil
	}
	if l.rested.happened() {
		l.lastGiven.happen()
		<-l.closed.c
	}
	return nil, err
}

// rest stops accepting. It closes a listener of ours: the kernel then refuses new
// connections, and a balancer tries another backend. The kernel holds those of a
// socket that systemd keeps for the next instance. When rest returns, http.Server
// knows all connections that were accepted.
func (l *listener) rest(ctx context.Context) {
	l.rested.happen()
	if l.kept != nil {
		l.kept.SetDeadline(time.Unix(1, 0))
	} else {
		go l.closeOnce() // Accept returns then; a Close that blocks must not hold up the step
	}
	select {
	case <-l.lastGiven.c:
	case <-l.closed.c:
	case <-ctx.Done():
	}
}

// Close may come after rest. It returns the error of the first close.
func (l *listener) Close() error {
	l.closed.happen()
	return l.closeOnce()
}

// An event happens once. It may be asked to happen again.
type event struct {
	c    chan struct{} // closed when it happens
	once *sync.Once
}

func newEvent() event { return event{make(chan struct{}), new(sync.Once)} }

func (e event) happen() { e.once.Do(func() { close(e.c) }) }

func (e event) happened() bool {
	select {
	case <-e.c:
		return true
	default:
		return false
	}
}
