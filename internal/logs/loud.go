// Package logs decides where log lines go, and keeps a slow handler from delaying the
// code that logs.
package logs

import (
	"context"
	"log/slog"
)

// Quiet returns log. If log is nil, it returns a Logger that discards.
func Quiet(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// Loud returns log. If log is nil, it returns a Logger that passes Warn and above
// to slog.Default, as it is when the line is written. Use it for what no caller
// receives as an error.
func Loud(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(loud{func(h slog.Handler) slog.Handler { return h }})
	}
	return log
}

// A loud handler is slog.Default's from Warn on, with the attributes and groups added
// so far.
type loud struct {
	with func(slog.Handler) slog.Handler
}

func (l loud) handler() slog.Handler { return l.with(slog.Default().Handler()) }

func (l loud) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && l.handler().Enabled(ctx, level)
}

func (l loud) Handle(ctx context.Context, r slog.Record) error { return l.handler().Handle(ctx, r) }

func (l loud) WithAttrs(attrs []slog.Attr) slog.Handler {
	return loud{func(h slog.Handler) slog.Handler { return l.with(h).WithAttrs(attrs) }}
}

func (l loud) WithGroup(name string) slog.Handler {
	return loud{func(h slog.Handler) slog.Handler { return l.with(h).WithGroup(name) }}
}
