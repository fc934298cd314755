package drain

import (
	"context"
	"errors"
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
func activated(addr string) *socket {
	for _, f := range passed() {
		l, err := net.FileListener(f) // a duplicate; its Close removes no file
		if err != nil {
			continue // what is passed may be something else
		}
		if d, ok := l.(deadliner); ok && listensOn(l.Addr(), addr) {
			return &socket{deadliner: d, quiet: make(chan struct{}), over: make(chan struct{})}
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

// A socket is a listener that systemd passed, and keeps: once nobody accepts,
// the kernel keeps new connections for the next instance.
type socket struct {
	deadliner
	quiet chan struct{} // closed when nobody accepts any more
	over  chan struct{} // closed by Close
	once  sync.Once
}

// Accept does not return once nobody is to accept: http.Server would take that
// for a failure.
func (s *socket) Accept() (net.Conn, error) {
	c, err := s.deadliner.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		close(s.quiet)
		<-s.over
		return nil, net.ErrClosed
	}
	return c, err
}

func (s *socket) Close() error {
	s.once.Do(func() { close(s.over) })
	return s.deadliner.Close()
}

// rest stops accepting. When it returns, http.Server knows all connections that
// were accepted.
func (s *socket) rest(ctx context.Context) {
	s.SetDeadline(time.Unix(1, 0))
	select {
	case <-s.quiet:
	case <-s.over:
	case <-ctx.Done():
	}
}
