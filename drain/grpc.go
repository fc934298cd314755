package drain

import (
	"context"
	"fmt"
	"sync"

	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// Graceful returns a step for a server that can be stopped in two ways, such as a
// *grpc.Server. The step
//  1. calls GracefulStop
//  2. shuts rpcs and ends the [Stopping] contexts of its RPCs, as a [Server] does
//  3. waits until GracefulStop returns
//
// When its time is over, the step ends the remaining Stopping contexts and waits a
// moment. Then it ends the contexts of the RPCs, names them in its error, calls Stop,
// and waits for both functions.
//
// GracefulStop waits for streams, but does not let them know of the stop. So have an
// interceptor Join rpcs for each RPC. If rpcs is nil, no RPC knows of the stop or is
// named.
//
// GracefulStop and Stop take no context. If one of them blocks, the step is abandoned
// at the end of its phase. With grpc this happens if
//   - a handler ignores the end of its context
//   - a connection has not finished its handshake, such as a silent one. It also
//     keeps grpc from letting the other clients know, for 2 minutes. Give
//     grpc.NewServer a grpc.ConnectionTimeout well below the phase's time.
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
	err          error         // the panic of GracefulStop
}

func (g *graceful) stop(ctx context.Context) error {
	g.closing.begin(ctx)
	g.once.Do(func() { // kill waits for this goroutine; stop returns its panic as an error
		go panics.Call[PanicError](ctx, nil, g.name, func(context.Context) error { g.grace(); return nil }, func(err error) {
			g.err = err
			close(g.done)
		})
	})
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

func (g *graceful) kill() {
	g.closing.kill(g.gate)
	g.force()
	if g.closing.begun() {
		<-g.done
	}
}
