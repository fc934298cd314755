package logs

import (
	"context"
	"log/slog"
	"runtime/pprof"
	"sync"
	"time"
)

// A Queue writes log lines in its own goroutine. A handler that blocks, is
// slow or panics does not hold up the goroutine that logs. The lines keep their
// order, and each keeps the time of its event.
//
// The zero Queue is ready to use. Its methods may be called concurrently.
type Queue struct {
	mu      sync.Mutex
	lines   []line
	dropped int           // lines that found the queue full, and are not reported yet
	busy    bool          // a goroutine writes
	idle    chan struct{} // made by Flush; closed when no goroutine writes any more
}

type line struct {
	slog.Handler
	ctx    context.Context
	record slog.Record
}

const (
	// most bounds the lines that wait, in number. The next ones are dropped.
	most = 1 << 14
	// moment is how long Flush waits at least. A healthy handler needs less.
	moment = 10 * time.Millisecond
)

// Logger returns a Logger whose lines log's handler writes, by way of the queue.
// A Logger of any queue, and one that discards, is returned as it is.
func (q *Queue) Logger(log *slog.Logger) *slog.Logger {
	h := log.Handler()
	if _, queued := h.(beside); queued || h == slog.DiscardHandler {
		return log
	}
	return slog.New(beside{h, q})
}

// Flush waits until all lines are written. It gives up at the time until, but
// never sooner than after 10 ms. Lines that are left are written later, if the
// process lives on.
func (q *Queue) Flush(until time.Time) {
	q.mu.Lock()
	if !q.busy {
		q.mu.Unlock()
		return
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	idle := q.idle
	q.mu.Unlock()
	patience := time.NewTimer(max(time.Until(until), moment))
	defer patience.Stop()
	select {
	case <-idle:
	case <-patience.C:
	}
}

// beside is a handler whose lines the queue's goroutine writes.
type beside struct {
	slog.Handler
	queue *Queue
}

// Enabled leaves the question to the queue's goroutine: it is the handler's code.
func (b beside) Enabled(context.Context, slog.Level) bool { return true }

func (b beside) Handle(ctx context.Context, r slog.Record) error {
	b.queue.add(line{b.Handler, ctx, r.Clone()})
	return nil
}

func (b beside) WithAttrs(attrs []slog.Attr) slog.Handler {
	return beside{b.Handler.WithAttrs(attrs), b.queue}
}

func (b beside) WithGroup(name string) slog.Handler {
	return beside{b.Handler.WithGroup(name), b.queue}
}

func (q *Queue) add(l line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) == most {
		q.dropped++
		return
	}
	q.lines = append(q.lines, l)
	if !q.busy {
		q.busy = true
		go q.write() // ends with the last line; Flush waits for it
	}
}

// write writes lines until none is left. A handler that panics or ends its
// goroutine costs its own line: another goroutine goes on with the next.
func (q *Queue) write() {
	pprof.SetGoroutineLabels(context.Background()) // it belongs to no task that has logged
	over := false
	defer func() {
		if !over {
			_ = recover()
			go q.write()
		}
	}()
	for l, ok := q.next(); ok; l, ok = q.next() {
		if l.Enabled(l.ctx, l.record.Level) {
			_ = l.Handle(l.ctx, l.record) // a handler's error has no other place to go
		}
	}
	over = true
}

// next takes the oldest line. Once there is room again, it says how many lines
// were dropped. Without a line it ends the writing.
func (q *Queue) next() (line, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) == 0 {
		q.busy = false
		if q.idle != nil {
			close(q.idle)
			q.idle = nil
		}
		return line{}, false
	}
	l := q.lines[0]
	q.lines = q.lines[1:]
	if q.dropped > 0 {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines dropped", 0)
		r.AddAttrs(slog.Int("lines", q.dropped))
		q.lines = append(q.lines, line{l.Handler, context.Background(), r})
		q.dropped = 0
	}
	return l, true
}
