package drain

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// Graceful adapts a server that can be stopped in two ways, such as a
// *grpc.Server. Its step
//
//	calls GracefulStop
//	shuts rpcs and announces the stop to those who joined it, as a [Server] does
//	waits until GracefulStop returns
//
// and, where its time is over, ends the contexts of those who are still in rpcs,
// names them in its error, calls Stop, and waits for both.
//
// GracefulStop waits for streams without telling them: let an interceptor have
// every RPC Join rpcs. A nil rpcs is a gate that nobody joins.
//
// Neither function takes a context and either may block; the step is then
// abandoned at its phase's end. With grpc a handler that ignores the end of its
// context does that. So does a connection that has not finished its handshake, a
// silent one say, which also keeps grpc from telling the other clients, for 2
// minutes: give grpc.NewServer a grpc.ConnectionTimeout well below the phase's time.
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
	stopCtx      atomic.Pointer[context.Context] // the latest Stop's
	once         sync.Once
	done         chan struct{} // closed when GracefulStop has returned
	err          error         // its panic
	lost         loss
}

func (g *graceful) stop(ctx context.Context) error {
	g.stopCtx.Store(&ctx)
	g.once.Do(func() { go g.run(ctx) }) // kill waits for it
	g.gate.shut(ctx)
	wire.Count(ctx, g.gate, g.gate.within)
	announce(ctx, g.gate)
	select {
	case <-g.done:
		if err := g.lost.cut(g.gate, nil); err != nil { // kill came, and what it cut has left
			return err
		}
		return g.err
	case <-ctx.Done():
		if err := g.lost.cut(g.gate, context.Cause(ctx)); err != nil {
			return err
		}
		return fmt.Errorf("drain: connections not closed yet: %w", context.Cause(ctx))
	}
}

// run does not know the plan's Logger: a panic is printed to standard error.
func (g *graceful) run(ctx context.Context) {
	labels.Call(ctx, nil, g.name, func(context.Context) error { g.grace(); return nil }, func(err error) {
		g.err = err
		close(g.done)
	})
}

func (g *graceful) kill() {
	why, ctx := errKilled, g.stopCtx.Load()
	if ctx != nil && (*ctx).Err() != nil {
		why = context.Cause(*ctx)
	}
	g.gate.shut(context.Background())
	g.lost.cut(g.gate, why)
	g.force()
	if ctx != nil {
		<-g.done
	}
}
