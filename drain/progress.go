package drain

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/panics"
)

// A progress counts what a plan has left, for Plan.Progress. The steps add their work
// to it through [carried.Counts].
type progress struct {
	steps atomic.Int64 // that have not ended, in this phase and the later ones

	mu     sync.Mutex
	counts map[any]func() int // how much work the steps of this phase wait for
}

// Count implements [carried.Counts].
func (p *progress) Count(key any, left func() int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[key] = left
}

// next begins to count for the first of these phases, and forgets the work of the one
// before. At the end of the plan there are no phases.
func (p *progress) next(phases []Phase) {
	p.steps.Store(int64(steps(phases)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts = make(map[any]func() int)
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

func steps(phases []Phase) (n int) {
	for i := range phases {
		n += len(phases[i].Steps)
	}
	return n
}

// reportProgress calls f after each call of changed, and 1 s after its latest call. It
// does so in a goroutine, since f may block. ended makes the last call, and waits for
// it until the deadline.
func (r *run) reportProgress(f func(left int, deadline time.Time)) (changed, ended func()) {
	if f == nil {
		return func() {}, func() {}
	}
	change, over := make(chan struct{}, 1), make(chan struct{})
	go panics.Call[PanicError](r.ctx, r.loud, "progress", func(context.Context) error {
		for more := true; more; {
			select {
			case _, more = <-change:
			case <-time.After(time.Second):
			}
			f(r.progress.left(), r.deadline)
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
		select {
		case <-over:
		case <-time.After(time.Until(r.deadline)):
		}
	}
	return changed, ended
}
