package drain

import (
	"context"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// passed returns the sockets that systemd passed to this process. They are closed on
// exec and removed from the environment, so that children do not take them. The
// process owns them, for all its servers, and keeps them open.
var passed = sync.OnceValue(func() []*os.File {
	if n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS")); n > 1<<16 { // no systemd's: Files would panic, or take all memory
		os.Unsetenv("LISTEN_FDS")
	}
	return activation.Files(true)
})

// activated returns the passed socket that listens on addr, or nil.
func activated(addr string) deadliner {
	for _, f := range passed() {
		l, err := net.FileListener(f) // a duplicate: its Close does not remove a unix socket's file
		if err != nil {
			continue // a passed descriptor may be something else
		}
		if d, ok := l.(deadliner); ok && listensOn(l.Addr(), addr) {
			return d
		}
		l.Close()
	}
	return nil
}

// listensOn reports whether a is the address addr. It compares addresses, not systemd's
// names, so the same program runs without systemd, and may have several servers.
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

// A listener wraps the connections that it accepts for the tracker. It can stop
// accepting before http.Server does, which takes any error of Accept for a failure.
type listener struct {
	net.Listener
	tracker *tracker
	kept    deadliner // the Listener if it is systemd's, else nil

	rested    event // rest was called
	lastGiven event // Accept will return no more connections
	closed    event // Close was called
	closeOnce func() error
}

func newListener(l net.Listener, kept deadliner, t *tracker) *listener {
	return &listener{Listener: l, tracker: t, kept: kept, rested: newEvent(), lastGiven: newEvent(), closed: newEvent(), closeOnce: sync.OnceValue(l.Close)}
}

// Accept does not return after rest, until Close.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		return l.tracker.wrap(c), nil
	}
	if l.rested.happened() {
		l.lastGiven.happen()
		<-l.closed.Done()
	}
	return nil, err
}

// rest stops accepting. It closes our own listener: the kernel then refuses new
// connections, and a balancer tries another backend. A socket of systemd stays open:
// the kernel holds new connections for the next instance. When rest returns,
// http.Server knows all connections that were accepted.
func (l *listener) rest(ctx context.Context) {
	l.rested.happen()
	if l.kept != nil {
		l.kept.SetDeadline(time.Unix(1, 0))
	} else {
		go l.closeOnce() // Accept returns upon it. It may block, so the step does not wait for it
	}
	select {
	case <-l.lastGiven.Done():
	case <-l.closed.Done():
	case <-ctx.Done():
	}
}

// Close may be called after rest. It returns the error of the first close.
func (l *listener) Close() error {
	l.closed.happen()
	return l.closeOnce()
}

// An event happens once. Done is closed when it happens. Further calls of happen do
// nothing.
type event struct {
	context.Context
	happen context.CancelFunc
}

func newEvent() event {
	ctx, happen := context.WithCancel(context.Background())
	return event{ctx, happen}
}

func (e event) happened() bool { return e.Err() != nil }
