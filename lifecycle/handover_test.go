package lifecycle_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// An element arrives when it was yielded, at any buffer, and not only with the next.
func TestStreamArrivesAtOnce(t *testing.T) {
	for _, buffer := range []int{0, 1, 2, 8} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			st := lifecycle.Generate(t.Context(), buffer, func(_ context.Context, yield func(int) bool) error {
				for i := range 3 {
					yield(i)
					time.Sleep(s)
				}
				return nil
			})
			for i := range st.All() {
				if got := time.Since(begin); got != time.Duration(i)*s {
					t.Errorf("buffer %d: element %d after %v", buffer, i, got)
				}
			}
		})
	}
}

// What was yielded before the producer returned is not lost if the loop comes later.
func TestStreamLosesNothing(t *testing.T) {
	for _, buffer := range []int{1, 2} {
		for range 200 { // select chooses
			synctest.Test(t, func(t *testing.T) {
				st := lifecycle.Generate(t.Context(), buffer, count(buffer))
				synctest.Wait()
				n := 0
				for range st.All() {
					n++
				}
				if n != buffer {
					t.Errorf("buffer %d: %d elements", buffer, n)
				}
			})
		}
	}
}

// After Close yield returns false, even if there is room in the buffer.
func TestStreamYieldAfterClose(t *testing.T) {
	for _, buffer := range []int{0, 1, 4} {
		st := lifecycle.Generate(t.Context(), buffer, func(ctx context.Context, yield func(int) bool) error {
			for <-ctx.Done(); yield(1); {
				t.Errorf("buffer %d: yield returned true after the end", buffer)
				return nil
			}
			return nil
		})
		if err := st.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A producer that obeyed Close leaves no error, even if its owner ends meanwhile.
func TestStreamClosedBeforeOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		st := lifecycle.Generate(ctx, 0, func(ctx context.Context, _ func(int) bool) error { <-ctx.Done(); time.Sleep(2 * s); return nil })
		time.AfterFunc(s, end)
		if err := st.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A stream that waits for its producer does not hold the elements that the loop took.
func TestStreamForgets(t *testing.T) {
	const n = 4
	var taken [n]weak.Pointer[[64]byte]
	var took atomic.Int64
	free := make(chan struct{})
	st := lifecycle.Generate(t.Context(), n, func(_ context.Context, yield func(*[64]byte) bool) error {
		for range n {
			yield(new([64]byte))
		}
		<-free
		return nil
	})
	looped := make(chan struct{})
	go func() {
		defer close(looped)
		for v := range st.All() {
			taken[took.Load()] = weak.Make(v)
			took.Add(1)
		}
	}()
	for until := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		held := n
		if took.Load() == n {
			runtime.GC()
			held = 0
			for i := range taken {
				if taken[i].Value() != nil {
					held++
				}
			}
		}
		if held == 0 {
			break
		}
		if time.Now().After(until) {
			t.Errorf("%d of %d elements are held", held, n)
			break
		}
	}
	close(free)
	<-looped
}
