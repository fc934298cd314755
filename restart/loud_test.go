package restart_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

// Without a Logger, slog.Default gets what no caller receives, and nothing about
// normal events.
func TestLoudByDefault(t *testing.T) { synctest.Test(t, loudByDefault) }

func loudByDefault(t *testing.T) {
	var b bytes.Buffer
	before := slog.Default()
	defer log.SetOutput(log.Writer()) // SetDefault takes that too
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	policy := restart.Policy{Min: time.Minute, Max: time.Minute, Stable: time.Hour} // a ledger has no bubble's clock: tests take less
	said := func(do func(), want map[string]int) {
		t.Helper()
		b.Reset()
		do()
		total := 0
		for line, n := range want {
			if total += n; strings.Count(b.String(), line) != n {
				t.Errorf("%q is not said %d times:\n%s", line, n, &b)
			}
		}
		if n := strings.Count(b.String(), "\n"); n != total {
			t.Errorf("%d lines, want %d:\n%s", n, total, &b)
		}
	}
	said(func() {
		runs := 0
		policy.Wrap(func(context.Context) error {
			switch runs++; runs {
			case 1, 2:
				return io.EOF
			case 3:
				panic("oh")
			}
			return nil
		})(t.Context())
	}, map[string]int{`level=WARN msg="restart wait" error=EOF`: 2, `level=WARN msg="restart wait" error="panic: oh"`: 1, "level=ERROR msg=panic": 1})

	path := filepath.Join(t.TempDir(), "ledger")
	run := func(err error, cut ...string) {
		ctx, stop := context.WithCancel(t.Context())
		l := restart.Ledger{Path: path, Policy: policy}
		if err := l.Begin(ctx); err != nil {
			t.Error(err)
		}
		stop()
		l.End(err, cut...)
	}
	said(func() { run(nil); run(nil) }, nil)
	said(func() { run(io.EOF, "ann"); run(nil, "ann") }, map[string]int{`level=WARN msg="restart wait" cause=failed`: 1, `level=WARN msg="sessions cut again"`: 1})
	said(func() {
		os.WriteFile(path, []byte("notes"), 0o600)
		run(nil)
	}, map[string]int{`level=WARN msg="ledger unavailable"`: 1})

	lock := restart.Lock{Path: path + ".lock"}
	said(func() { lock.Acquire(t.Context()) }, nil)
	said(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		(&restart.Lock{Path: lock.Path}).Acquire(ctx)
	}, map[string]int{`level=WARN msg="lock wait"`: 1})
	said(func() {
		lock.Release(t.Context())
		os.WriteFile(lock.Path, []byte("\x00pid 1 since 2026-05-20T10:00:00Z"), 0o600)
		next := restart.Lock{Path: lock.Path, Linger: time.Millisecond}
		next.Acquire(t.Context())
		next.Release(t.Context())
	}, map[string]int{`level=WARN msg="lock lingers"`: 1})
}

// Under a hook of lifecycle, a stop is requested by the hook or the end of a context
// above it, but not by the end of a context made for the start alone.
func TestLedgerStopRequested(t *testing.T) {
	for name, tt := range map[string]struct {
		stop func(flag *lifecycle.Flag, outer context.CancelFunc)
		want string
	}{
		"the flag":          {func(flag *lifecycle.Flag, _ context.CancelFunc) { flag.Raise(nil) }, "stopped"},
		"an outer context":  {func(_ *lifecycle.Flag, outer context.CancelFunc) { outer() }, "stopped"},
		"the program's end": {func(*lifecycle.Flag, context.CancelFunc) {}, "ended"},
	} {
		outer, cancel := context.WithCancel(t.Context())
		ctx, flag := lifecycle.WithFlag(outer)
		l := restart.Ledger{Path: filepath.Join(t.TempDir(), "ledger")}
		g := lifecycle.Group{Logger: slog.New(slog.DiscardHandler), Start: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return l.Begin(ctx)
		}}
		g.Go("task", func(context.Context) error { tt.stop(flag, cancel); return nil })
		err := g.Run(ctx)
		l.End(err)
		cancel()
		if table, err2 := l.Table(); !strings.Contains(table, tt.want) {
			t.Errorf("%s: want %s\n%s", name, tt.want, errors.Join(errors.New(table), err, err2))
		}
	}
}

// The stop of an outer flag counts too, if its end does not reach the inner context.
func TestLedgerOuterFlag(t *testing.T) {
	outer, flag := lifecycle.WithFlag(t.Context())
	ctx, _ := lifecycle.WithFlag(context.WithoutCancel(outer))
	l := restart.Ledger{Path: filepath.Join(t.TempDir(), "ledger")}
	if err := l.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	flag.Raise(nil)
	l.End(nil)
	if table, err := l.Table(); !strings.Contains(table, "stopped") {
		t.Errorf("%v\n%s", err, table)
	}
}
