package logs

import (
	"context"
	"log/slog"
	"runtime/pprof"
	"sync"
	"time"
)

// A Queue writes log lines in its own goroutine, so that a handler that is slow,
// blocks or panics does not delay the goroutine that logs. The lines keep their
// order, and each keeps the time of its event.
//
// The zero Queue is ready to use. Its methods may be called concurrently.
type Queue struct {
	mu      sync.Mutex
	lines   []line
	dropped int           // lines that found the queue full; zero once reported
	busy    bool          // a goroutine runs write
	idle    chan struct{} // made by Flush; closed when busy becomes false
}

type line struct {
	slog.Handler
	ctx    context.Context
	record slog.Record
}

const (
	// most is how many lines may wait. Further ones are dropped.
	most = 1 << 14
	// moment is how long Flush waits for a slow handler at least.
	moment = 10 * time.Millisecond
)

// Logger returns a Logger that writes to log's handler through the queue. It returns
// log itself if that writes through a queue already, or discards.
func (q *Queue) Logger(log *slog.Logger) *slog.Logger {
	h := log.Handler()
	if _, queued := h.(beside); queued || h == slog.DiscardHandler {
		return log
	}
	return slog.New(beside{h, q})
}

// Flush waits until all lines are written. It gives up at the time until, but not
// before 10 ms have passed. The lines that are left are written later, if the process
// lives on.
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

// A beside handler passes its lines to the queue.
type beside struct {
	slog.Handler
	queue *Queue
}

// Enabled is true: the queue's goroutine asks the handler, whose Enabled may block too.
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

// write writes lines until none is left. If a handler panics or ends the goroutine,
// its line is lost, and another goroutine goes on with the next.
func (q *Queue) write() {
	pprof.SetGoroutineLabels(context.Background()) // it belongs to none of the tasks that log
	over := false
	defer func() {
		if !over {
			_ = recover()
			go q.write()
		}
	}()
	for l, ok := q.next(); ok; l, ok = q.next() {
		if l.Enabled(l.ctx, l.record.Level) {
			_ = l.Handle(l.ctx, l.record) // no caller could use the error
		}
	}
	over = true
}

// next takes the oldest line. If lines were dropped, it adds a line with their number.
// If no line is left, it reports false, and the writing ends.
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
