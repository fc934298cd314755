package leasesim

import (
	"context"
	"errors"
	"time"
)

type state struct {
	value   []byte
	version string
}

// Get implements restart.Register, over the network.
func (p *process) Get(ctx context.Context) ([]byte, string, error) {
	s, err := send(ctx, p, func() (s state, err error) {
		s.value, s.version, err = p.register.Get(context.Background())
		return s, err
	})
	return s.value, s.version, err
}

// Set implements restart.Register, over the network.
func (p *process) Set(ctx context.Context, value []byte, version string) (string, error) {
	return send(ctx, p, func() (string, error) {
		return p.register.Set(context.Background(), value, version)
	})
}

var errLost = errors.New("the connection broke")

// send sends a request and waits for its answer. Once sent, a request arrives even if
// the sender waits no longer, or has died. It can arrive twice, and late.
func send[T any](ctx context.Context, p *process, request func() (T, error)) (T, error) {
	p.point()
	var none T
	answers := make(chan func() (T, error), 1)
	var cut, mute bool
	p.set(func() { cut, mute = time.Now().Before(p.cut), p.mute })
	chance := 0
	p.locked(func() {
		if p.rough {
			chance = 20
		}
	})
	lucky := func() bool { return chance == 0 || p.n(chance) > 0 }
	if (cut && mute) || !lucky() {
		if p.n(2) == 0 {
			return none, errLost
		}
		<-ctx.Done()
		p.point()
		return none, ctx.Err()
	}
	p.all.Go(func() {
		time.Sleep(p.delay())
		v, err := request()
		if !lucky() {
			p.all.Go(func() {
				time.Sleep(p.delay())
				request() // the same again: no caller waits for its answer
			})
		}
		if cut || !lucky() {
			return
		}
		time.Sleep(p.delay())
		answers <- func() (T, error) { return v, err }
	})
	select {
	case a := <-answers:
		p.point()
		return a()
	case <-ctx.Done():
		p.point()
		return none, ctx.Err()
	}
}
