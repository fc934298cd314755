package drain

import (
	"context"
	"fmt"
	"sync"

	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// Graceful adapts a server that can be stopped in two ways, such as a
// *grpc.Server. Its step
//
//	calls GracefulStop
//	shuts rpcs and ends the Stopping contexts of those who joined it, as a [Server] does
//	waits until GracefulStop returns
//
// When its time is over, the step tells those in rpcs that do not know yet, and
// gives them a moment. Then it ends their contexts, names them in its error, calls
// Stop, and waits for both functions.
//
// GracefulStop waits for streams, but does not tell them of the stop: let an
// interceptor have every RPC Join rpcs. A nil rpcs names no RPC and tells none.
//
// Neither function takes a context, and either may block. The step is then
// abandoned at its phase's end. With grpc this happens if a handler ignores the end
// of its context. It also happens if a connection has not finished its handshake, a
// silent one for example. That connection also keeps grpc from telling the other
// clients, for 2 minutes: give grpc.NewServer a grpc.ConnectionTimeout well below
// the phase's time.
func Graceful(name string, s interface {
	GracefulStop()
	Stop()
}, rpcs *Gate) Step {
	if rpcs == nil {
		rpcs = new(Gate)
	}
	g := &graceful{gate: rpcs, grace: s.GracefulStop, force: s.Stop, name: name, done: make(chan struct{})}
	return Step{Name: name, Stop: g.stop, Kill: g.kill}
}

type graceful struct {
	gate         *Gate
	grace, force func()
	name         string
	closing      closing
	once         sync.Once
	done         chan struct{} // closed when GracefulStop has returned
	err          error         // its panic
}

func (g *graceful) stop(ctx context.Context) error {
	g.closing.begin(ctx)
	g.once.Do(func() { go g.run(ctx) }) // kill waits for it
	if err := g.closing.close(ctx, g.gate); err != nil {
		return err
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return fmt.Errorf("drain: connections not closed yet: %w", context.Cause(ctx))
	}
}

// run does not know the plan's Logger: a panic is printed to standard error.
func (g *graceful) run(ctx context.Context) {
	panics.Call(ctx, nil, g.name, func(context.Context) error { g.grace(); return nil }, func(err error) {
		g.err = err
		close(g.done)
	})
}

func (g *graceful) kill() {
	g.closing.kill(g.gate)
	g.force()
	if g.closing.begun() {
		<-g.done
	}
}
