package count

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCount(t *testing.T) {
	var c Count
	for range 2 {
		if !c.Enter() {
			t.Fatal("shut from the start")
		}
	}
	if c.ShutEmpty() {
		t.Error("shut as if empty")
	}
	if n, shut := c.Leave(); n != 1 || shut {
		t.Errorf("%d, %v", n, shut)
	}
	if n := c.Shut(); n != 1 {
		t.Errorf("%d within", n)
	}
	if c.Enter() {
		t.Error("entered a shut count")
	}
	if n, shut := c.Leave(); n != 1 || !shut {
		t.Errorf("%d, %v", n, shut)
	}
	if n, shut := c.Leave(); n != 0 || !shut || !c.ShutEmpty() {
		t.Errorf("%d, %v", n, shut)
	}
	if n, _ := c.Leave(); n != -1 {
		t.Errorf("%d after a Leave without an Enter", n)
	}
	if c.Enter(); c.Shut() != 0 {
		t.Error("the count does not recover")
	}
	if n, _ := c.Within(); c.TryEnter() || n != 0 {
		t.Errorf("tried to enter a shut count: %d", n)
	}
	if c = (Count{}); !c.TryEnter() {
		t.Error("an open count turned one away")
	}
	if n, shut := c.Within(); n != 1 || shut {
		t.Errorf("%d, %v", n, shut)
	}
}

// Nothing enters after the shutting: a count that is shut and empty stays so.
func TestCountConcurrent(t *testing.T) {
	for range 200 {
		var c Count
		var within, empty atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					if c.Enter() {
						within.Add(1)
						if empty.Load() > 0 {
							t.Error("entered after the count was shut and empty")
						}
						within.Add(-1)
					}
					if n, shut := c.Leave(); n == 0 && shut && within.Load() == 0 {
						empty.Add(1)
					}
				}
			})
		}
		wg.Go(func() { c.Shut() })
		wg.Wait()
		if !c.ShutEmpty() {
			t.Fatal("not empty at the end")
		}
	}
}

// Either ShutEmpty or TryEnter wins: what has entered was not shut out.
func TestCountEither(t *testing.T) {
	for range 100 {
		counts, shut := make([]Count, 5000), make([]bool, 5000)
		var wg sync.WaitGroup
		var ready atomic.Int64
		both := func() {
			for ready.Add(1); ready.Load() < 2; {
				runtime.Gosched()
			}
		}
		wg.Go(func() {
			both()
			for i := range counts {
				shut[i] = counts[i].ShutEmpty()
			}
		})
		entered := make([]bool, len(counts))
		both()
		for i := range counts {
			entered[i] = counts[i].TryEnter()
		}
		wg.Wait()
		for i := range counts {
			if entered[i] == shut[i] {
				t.Fatalf("entered %v, shut and empty %v", entered[i], shut[i])
			}
		}
	}
}
