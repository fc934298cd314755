package lifecycle_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// A recorder stands for a *testing.T whose failure is wanted.
type recorder struct {
	*testing.T
	cleanups []func()
	errors   strings.Builder
}

func (r *recorder) Cleanup(f func())                  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.errors, format, args...) }
func (r *recorder) end() string {
	for _, f := range r.cleanups {
		f()
	}
	return r.errors.String()
}

// VerifyNone finds a planted leak, whatever planted it.
func TestVerifyNone(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plant func(ctx context.Context, free chan struct{})
		want  string // in the error; "" for none
	}{
		{"nothing", func(context.Context, chan struct{}) {}, ""},
		{"one that ends in time", func(context.Context, chan struct{}) { go func() {}() }, ""},
		{"a bare go", func(_ context.Context, free chan struct{}) { go stuckHere(free) }, "stuckHere"},
		{"a child's child", func(_ context.Context, free chan struct{}) { go func() { go stuckHere(free) }() }, "stuckHere"},
		{"a child of a task", func(ctx context.Context, free chan struct{}) {
			var g lifecycle.Group
			g.Go("parent", func(context.Context) error { go stuckHere(free); return nil })
			if err := g.Run(ctx); err != nil {
				panic(err)
			}
		}, "1 parent\nlifecycle_test.stuckHere"},
		{"a stream", func(ctx context.Context, free chan struct{}) {
			lifecycle.Generate(ctx, 0, func(context.Context, func(int) bool) error { stuckHere(free); return nil })
		}, "stuckHere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			free := make(chan struct{})
			defer close(free)
			r := &recorder{T: t}
			tt.plant(lifecycle.VerifyNone(r), free)
			if got := r.end(); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Beside a test that leaks, goleak blames the one that does not.
func TestVerifyNoneInParallel(t *testing.T) {
	free, ready, leaked, judged := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // the test that leaks
		r := &recorder{T: t}
		lifecycle.VerifyNone(r)
		<-ready
		go stuckHere(free)
		close(leaked)
		<-judged
		if r.end() == "" {
			t.Error("VerifyNone does not see the leak")
		}
	})
	wg.Go(func() { // the test that does not
		r := &recorder{T: t}
		lifecycle.VerifyNone(r)
		current := goleak.IgnoreCurrent()
		close(ready)
		<-leaked
		if goleak.Find(current) == nil {
			t.Error("goleak is right by accident: the test shows nothing")
		}
		if got := r.end(); got != "" {
			t.Errorf("VerifyNone blames the wrong test: %s", got)
		}
		close(judged)
	})
	wg.Wait()
	close(free)
}

func TestVerifyNoneInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := lifecycle.VerifyNone(t)
		for range lifecycle.Generate(ctx, 8, count(100)).All() {
		}
	})
}
