package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// count yields the numbers from 0 up to n, or without end if n is negative.
func count(n int) func(context.Context, func(int) bool) error {
	return func(_ context.Context, yield func(int) bool) error {
		for i := 0; i != n; i++ {
			if !yield(i) {
				return nil
			}
		}
		return nil
	}
}

func TestStreamOrder(t *testing.T) {
	for _, buffer := range []int{-1, 0, 1, 2, 3, 64, 1000} {
		t.Run(fmt.Sprint(buffer), func(t *testing.T) {
			st := lifecycle.Generate(t.Context(), buffer, count(1000))
			next := 0
			for v := range st.All() {
				if v != next {
					t.Fatalf("got %d, want %d", v, next)
				}
				next++
			}
			if err := st.Close(t.Context()); next != 1000 || err != nil || st.Err() != nil {
				t.Errorf("%d elements, %v, %v", next, err, st.Err())
			}
			for range st.All() {
				t.Error("an element after the end")
			}
		})
	}
}

func TestStreamEnds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		produce func(context.Context, func(int) bool) error
		consume func(ctx context.Context, end context.CancelFunc, st *lifecycle.Stream[int])
		want    string // of Err, "" for nil
	}{
		{"leaving the loop", count(-1), func(_ context.Context, _ context.CancelFunc, st *lifecycle.Stream[int]) {
			for range st.All() {
				break
			}
		}, ""},
		{"Close inside the loop", count(-1), func(ctx context.Context, _ context.CancelFunc, st *lifecycle.Stream[int]) {
			n := 0
			for range st.All() {
				if err := st.Close(ctx); err != nil {
					t.Error(err)
				}
				n++
			}
			if n != 1 {
				t.Errorf("%d elements after Close", n-1)
			}
		}, ""},
		{"Close before the first", count(-1), func(ctx context.Context, _ context.CancelFunc, st *lifecycle.Stream[int]) {
			st.Close(ctx)
			for range st.All() {
				t.Error("an element after Close")
			}
		}, ""},
		{"an error", func(_ context.Context, yield func(int) bool) error { yield(1); return errWork }, drainStream, "work failed"},
		{"an error that wraps Canceled, unasked", func(context.Context, func(int) bool) error { return context.Canceled }, drainStream, "context canceled"},
		{"a panic", func(context.Context, func(int) bool) error { panic("oh") }, drainStream, "panic: oh"},
		{"Goexit", func(context.Context, func(int) bool) error { runtime.Goexit(); return nil }, drainStream, "called runtime.Goexit"},
		{"the owner ends", count(-1), func(_ context.Context, end context.CancelFunc, st *lifecycle.Stream[int]) {
			for i := range st.All() {
				if i == 5 {
					end()
				}
			}
		}, "context canceled"},
		{"yield after the end", func(_ context.Context, yield func(int) bool) error {
			for yield(0) {
			}
			if yield(1) || yield(2) {
				return errors.New("taken after the end")
			}
			return nil
		}, func(_ context.Context, _ context.CancelFunc, st *lifecycle.Stream[int]) {
			for range st.All() {
				break
			}
		}, ""},
		{"Close inside the producer", nil, nil, ""},
	} {
		for _, buffer := range []int{0, 8} {
			t.Run(fmt.Sprint(tt.name, " ", buffer), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if tt.produce == nil {
						self := make(chan *lifecycle.Stream[int], 1)
						tt.produce = func(ctx context.Context, yield func(int) bool) error { return (<-self).Close(context.Background()) }
						tt.consume = func(_ context.Context, _ context.CancelFunc, st *lifecycle.Stream[int]) {
							self <- st
							drainStream(t.Context(), nil, st)
						}
						defer func() { tt.produce = nil }()
					}
					ctx, end := context.WithCancel(t.Context())
					defer end()
					st := lifecycle.Generate(ctx, buffer, tt.produce)
					tt.consume(ctx, end, st)
					synctest.Wait()
					got := ""
					if err := st.Err(); err != nil {
						got = err.Error()
					}
					if err := st.Close(t.Context()); got != tt.want || err != st.Err() {
						t.Errorf("Err %q, Close %v; want %q", got, err, tt.want)
					}
				})
			})
		}
	}
}

func drainStream(_ context.Context, _ context.CancelFunc, st *lifecycle.Stream[int]) {
	for range st.All() {
	}
}

// Close names a producer that it stops waiting for.
func TestStreamStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := lifecycle.Generate(t.Context(), 4, func(context.Context, func(int) bool) error { time.Sleep(time.Minute); return errWork })
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		err := st.Close(ctx)
		var leak *lifecycle.LeakError
		if !errors.As(err, &leak) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(leak.Found[0].Stack, "TestStreamStuck") {
			t.Errorf("got %v", err)
		}
		if err := st.Close(t.Context()); err != errWork {
			t.Errorf("a later Close: %v", err)
		}
	})
}

// Any number of streams make few labels: a goroutine profile takes time and memory
// for each distinct one.
func TestStreamLabels(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, _ *lifecycle.Flag) {
		var g lifecycle.Group
		distinct := map[string]int{}
		g.Go("owner", func(ctx context.Context) error {
			for i := range 100 {
				st := lifecycle.Generate(ctx, i, func(ctx context.Context, _ func(int) bool) error {
					label, _ := pprof.Label(ctx, "evenkeel")
					distinct[label]++
					return nil
				})
				if err := st.Close(t.Context()); err != nil {
					return err
				}
			}
			return nil
		})
		if err := g.Run(ctx); err != nil || len(distinct) != 1 {
			t.Errorf("%v, labels %v", err, distinct)
		}
	})
}

// A panic in a stream is logged as its group's panics are.
func TestStreamPanicIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, _ *lifecycle.Flag) {
		var log strings.Builder
		g := lifecycle.Group{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		g.Go("a", func(ctx context.Context) error {
			return lifecycle.Generate(ctx, 0, func(context.Context, func(int) bool) error { panic("oh") }).Close(t.Context())
		})
		if err := g.Run(ctx); err == nil || !strings.Contains(log.String(), `msg=panic name=stream error="panic: oh"`) {
			t.Errorf("%v, log:\n%s", err, &log)
		}
	})
}

// The incident: 16 generators "already running" and 15 tasks "destroyed while
// pending", when all of them were closed at once. Here 19 goroutines close. On
// the clock of a bubble the three Raises come at one time, however slow the
// machine is, so none of them forces.
func TestIncident16And15(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	for _, procs := range []int{1, 2, 8} {
		before := runtime.GOMAXPROCS(procs)
		for range rounds {
			bubble(t, closeAllAtOnce)
		}
		runtime.GOMAXPROCS(before)
	}
}

func closeAllAtOnce(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
	var g lifecycle.Group
	streams := make([]*lifecycle.Stream[int], 16)
	for i := range streams {
		streams[i] = lifecycle.Generate(ctx, i%3*4, count(-1))
		g.Go("reader", func(context.Context) error {
			for range streams[i].All() {
			}
			return nil
		})
	}
	for range 15 {
		g.Go("task", until)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { flag.Raise(nil) })
	}
	for _, st := range streams {
		wg.Go(func() {
			// It is one or the other, as either the flag or Close came first.
			if err := st.Close(t.Context()); err != nil && err != context.Canceled {
				t.Error(err)
			}
		})
	}
	if err := g.Run(ctx); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// A stream has its task's label, so a leak in it is reported with the task's name.
func TestStreamInTask(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, flag *lifecycle.Flag) {
		g := lifecycle.Group{Drain: drain.Plan{Budget: s}}
		g.Go("reader", func(ctx context.Context) error {
			st := lifecycle.Generate(ctx, 0, func(context.Context, func(int) bool) error { time.Sleep(time.Minute); return nil })
			for range st.All() {
			}
			time.Sleep(time.Minute)
			return nil
		})
		time.AfterFunc(s, func() { flag.Raise(nil) })
		var leak *lifecycle.LeakError
		if err := g.Run(ctx); !errors.As(err, &leak) || leak.Live != 1 || len(leak.Found) != 2 || leak.Found[1].Task != "reader" {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Minute)
	})
}

// A stream outside a group is reported as "stream". Its error once had no name.
func TestStreamWithoutGroup(t *testing.T) {
	free := make(chan struct{})
	st := lifecycle.Generate(context.Background(), 0, func(context.Context, func(int) bool) error { <-free; return nil })
	time.Sleep(10 * time.Millisecond) // it has its label only once it runs
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := st.Close(ctx); !strings.Contains(fmt.Sprint(err), "1 task did not end: stream (1) at ") {
		t.Error(err)
	}
	close(free)
	if err := st.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// BenchmarkStream measures one element.
func BenchmarkStream(b *testing.B) {
	b.ReportAllocs()
	st := lifecycle.Generate(b.Context(), 64, count(b.N))
	for range st.All() {
	}
}

// A loop returns after its producer, even if the owner's end ends it.
func TestStreamLoopWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		returned := false
		st := lifecycle.Generate(ctx, 0, func(ctx context.Context, _ func(int) bool) error {
			<-ctx.Done()
			time.Sleep(s)
			returned = true
			return nil
		})
		for range st.All() {
		}
		if err := st.Err(); !returned || err != context.DeadlineExceeded {
			t.Errorf("producer returned: %v; Err %v", returned, err)
		}
	})
}
