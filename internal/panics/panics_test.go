package panics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	. "github.com/evenkeel-go/evenkeel/internal/panics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// However a function ends, done is called once, and a panic is logged if there is a
// Logger.
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
			Call[Error](t.Context(), slog.New(slog.NewTextHandler(&log, nil)), "x", tt.f, func(err error) { got = append(got, err) })
		})
		wg.Wait()
		var p *Error
		if len(got) != 1 || got[0] != tt.want && !(errors.As(got[0], &p) && p.Logged && errors.Is(got[0], Err)) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		wg.Go(func() { // without a Logger it is the same
			Call[Error](t.Context(), nil, "x", tt.f, func(err error) { got = append(got, err) })
		})
		wg.Wait()
		if len(got) != 2 || fmt.Sprint(got[0]) != fmt.Sprint(got[1]) {
			t.Errorf("%s: without a Logger: %v", tt.name, got)
		}
		if isPanic := p != nil; isPanic != strings.Contains(log.String(), "TestCall") || isPanic != strings.HasPrefix(tt.name, "panic") {
			t.Errorf("%s: panic %v, log %q", tt.name, isPanic, &log)
		}
	}
}

// A panic's error says whether the panic was logged. If the log's handler panics too, done
// still gets the first one.
func TestLogged(t *testing.T) {
	boom := func(context.Context) error { panic("boom") }
	for _, log := range []*slog.Logger{nil, slog.New(slog.DiscardHandler), slog.New(deaf{slog.DiscardHandler})} {
		var got error
		func() {
			defer func() { recover() }()
			Call[Error](t.Context(), log, "x", boom, func(err error) { got = err })
		}()
		p, ok := got.(*Error)
		if !ok || p.Value != "boom" || p.Logged != (log != nil) || !strings.Contains(string(p.Stack), "TestLogged") {
			t.Errorf("log %v: %+v", log != nil, got)
		}
	}
}

// deaf is a handler that panics.
type deaf struct{ slog.Handler }

func (deaf) Enabled(context.Context, slog.Level) bool  { return true }
func (deaf) Handle(context.Context, slog.Record) error { panic("handler") }
