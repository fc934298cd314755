package drain

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// A progress counts what a plan has left, for Plan.Progress. It is also the
// [wire.Counts] of the plan's steps.
type progress struct {
	steps atomic.Int64 // that have not ended, those of later phases too

	mu     sync.Mutex
	counts map[any]func() int // the work that this phase's steps wait for
}

// Count implements [wire.Counts].
func (p *progress) Count(key any, left func() int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts == nil {
		p.counts = make(map[any]func() int)
	}
	p.counts[key] = left
}

// next is called before each phase, with that and the later ones, and at the
// end. It forgets what the phase before has abandoned.
func (p *progress) next(phases []Phase) {
	p.steps.Store(int64(steps(phases)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts = nil
}

func (p *progress) left() int {
	n := int(p.steps.Load())
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, left := range p.counts {
		n += left()
	}
	return n
}

// tell calls f after each call of changed, and a second after its latest call, in
// a goroutine of its own, as f may block. ended makes a last call, and waits for
// that no longer than the plan may take.
func (r *run) tell(f func(left int, deadline time.Time)) (changed, ended func()) {
	if f == nil {
		return func() {}, func() {}
	}
	change, over := make(chan struct{}, 1), make(chan struct{})
	go panics.Call(r.ctx, r.loud, "progress", func(context.Context) error {
		again := time.NewTimer(time.Second)
		defer again.Stop()
		for more := true; more; {
			select {
			case _, more = <-change:
			case <-again.C:
			}
			f(r.progress.left(), r.deadline)
			again.Reset(time.Second)
		}
		return nil
	}, func(error) { close(over) })
	changed = func() {
		select {
		case change <- struct{}{}:
		default: // one is pending
		}
	}
	ended = func() {
		close(change)
		patience := time.NewTimer(time.Until(r.deadline))
		defer patience.Stop()
		select {
		case <-over:
		case <-patience.C:
		}
	}
	return changed, ended
}
