package labels

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A planted goroutine is found below its owner and the owner above, with those
// it started by a bare go, and nowhere else.
func TestBelow(t *testing.T) {
	outerPath, otherPath := Path(t.Context()), Path(t.Context())
	innerPath := Path(With(t.Context(), outerPath, "outer"))
	free, up := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		Set(With(t.Context(), innerPath, "planted"))
		for range 2 {
			wg.Go(func() { up <- struct{}{}; parked(free) })
		}
		up <- struct{}{}
		parked(free)
	})
	for range 3 {
		<-up
	}
	for path, want := range map[string]int{outerPath: 3, innerPath: 3, otherPath: 0, outerPath[:len(outerPath)-1]: 0} {
		found, err := Below(path)
		n := 0
		for _, f := range found {
			if n += f.Count; f.Name != "planted" {
				t.Errorf("name %q", f.Name)
			}
			if strings.HasPrefix(f.Stack, "runtime.") {
				t.Errorf("stack begins in the runtime:\n%s", f.Stack)
			}
		}
		if n != want || err != nil {
			t.Errorf("below %s: %d goroutines, %v; want %d", path, n, err, want)
		}
	}
	close(free)
	wg.Wait()
}

func parked(free chan struct{}) { <-free }

func TestCall(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(context.Context) error
		want error
	}{
		{"nil", func(context.Context) error { return nil }, nil},
		{"error", func(context.Context) error { return io.EOF }, io.EOF},
		{"panic", func(context.Context) error { panic(io.EOF) }, nil},
		{"Goexit", func(context.Context) error { runtime.Goexit(); return nil }, ErrGoexit},
	} {
		var log strings.Builder
		var got []error
		var wg sync.WaitGroup
		wg.Go(func() {
			Call(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), "x", tt.f, func(err error) { got = append(got, err) })
		})
		wg.Wait()
		var p *PanicError
		if len(got) != 1 || got[0] != tt.want && !errors.As(got[0], &p) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if isPanic := p != nil; isPanic != strings.Contains(log.String(), "TestCall") || isPanic != strings.HasPrefix(tt.name, "panic") {
			t.Errorf("%s: panic %v, log %q", tt.name, isPanic, &log)
		}
	}
}
