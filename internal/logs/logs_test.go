package logs

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/internal/labels"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handle is a handler of one function.
type handle func(slog.Record)

func (handle) Enabled(context.Context, slog.Level) bool        { return true }
func (h handle) Handle(_ context.Context, r slog.Record) error { h(r); return nil }
func (h handle) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h handle) WithGroup(string) slog.Handler                 { return h }

// seen is a handler that keeps messages, and a function that returns them.
func seen() (handle, func() []string) {
	var mu sync.Mutex
	var all []string
	return func(r slog.Record) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, r.Message)
		}, func() []string {
			mu.Lock()
			defer mu.Unlock()
			return all
		}
}

// Without a Logger, Warn and above go to slog.Default as it is when the line is
// written, and lesser lines go nowhere.
func TestLoud(t *testing.T) {
	l := Loud(nil).With("a", 1).WithGroup("g").With("b", 2)
	var b bytes.Buffer
	before := slog.Default()
	defer log.SetOutput(log.Writer()) // SetDefault takes that too
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	l.Info("progress")
	l.Warn("trouble")
	if got := b.String(); strings.Contains(got, "progress") || !strings.Contains(got, "msg=trouble a=1 g.b=2") {
		t.Errorf("slog.Default got %q", got)
	}
	own := slog.New(slog.DiscardHandler)
	if Loud(own) != own || Quiet(own) != own {
		t.Error("a Logger is not returned as it is")
	}
	Quiet(nil).Error("nothing") // must not panic
}

// Lines keep their order and the time of their event, however slow the handler.
func TestQueueOrderAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		var got []string
		begin := time.Now()
		log := q.Logger(slog.New(handle(func(r slog.Record) {
			time.Sleep(time.Second)
			got = append(got, fmt.Sprint(r.Message, " ", r.Time.Sub(begin)))
		})))
		for i := range 3 {
			log.Info(fmt.Sprint("line ", i))
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(begin); d != 30*time.Millisecond {
			t.Errorf("logging took %v", d)
		}
		q.Flush(begin.Add(time.Minute))
		if want := "[line 0 0s line 1 10ms line 2 20ms]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %v", got, want)
		}
		q.Flush(begin) // with nothing to write it does not wait
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("Flush took %v", d)
		}
	})
}

// If a handler panics or ends its goroutine, only its line is lost.
func TestQueueHandlerFails(t *testing.T) {
	var q Queue
	h, all := seen()
	log := q.Logger(slog.New(handle(func(r slog.Record) {
		switch r.Message {
		case "panic":
			panic("handler")
		case "goexit":
			runtime.Goexit()
		}
		h(r)
	})))
	for _, m := range []string{"a", "panic", "b", "goexit", "c"} {
		log.Info(m)
	}
	q.Flush(time.Now().Add(time.Minute))
	if got := fmt.Sprint(all()); got != "[a b c]" {
		t.Errorf("written: %s", got)
	}
}

// A handler that blocks delays neither the caller nor Flush. The queue is bounded, and
// logs how many lines it dropped.
func TestQueueBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		release := make(chan struct{})
		h, all := seen()
		lost := 0
		log := q.Logger(slog.New(handle(func(r slog.Record) {
			<-release
			h(r)
			r.Attrs(func(a slog.Attr) bool { lost += int(a.Value.Int64()); return true })
		})))
		begin := time.Now()
		log.Info("first")
		synctest.Wait() // its handler blocks
		for range most + 7 {
			log.Info("line")
		}
		q.Flush(begin.Add(time.Second))
		q.Flush(begin) // already over: a moment all the same
		if d := time.Since(begin); d != time.Second+moment {
			t.Errorf("Flush gave up after %v", d)
		}
		close(release)
		q.Flush(time.Now().Add(time.Minute))
		if n := len(all()); n != most+2 || lost != 7 || all()[n-1] != "log lines dropped" {
			t.Errorf("%d lines written, %d reported as dropped, the last is %q", n, lost, all()[n-1])
		}
	})
}

// A queued line is the handler's own: it sees none that the handler's level leaves
// out, it may add to the line whatever the caller does, and it has no task's label.
func TestQueueLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		release := make(chan struct{})
		var wrote []string
		h := leveled{handle(func(r slog.Record) {
			<-release
			r.AddAttrs(slog.Int("own", 1))
			r.Attrs(func(a slog.Attr) bool { wrote = append(wrote, a.Key); return true })
		})}
		ctx := labels.With(t.Context(), labels.Path(t.Context()), "task")
		owner := labels.Path(ctx)
		ctx = labels.With(ctx, owner, "task")
		r := slog.NewRecord(time.Now(), slog.LevelInfo, "line", 0)
		for range 8 { // five have places in the record itself; there is room for one more behind it
			r.AddAttrs(slog.Int("a", 1))
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			labels.Set(ctx)
			log := q.Logger(slog.New(h))
			log.Debug("too fine")
			log.Handler().Handle(ctx, r)
			r.AddAttrs(slog.Int("later", 1))
		}()
		<-done
		synctest.Wait()
		if found, err := labels.Below(owner); len(found) > 0 || err != nil {
			t.Errorf("the queue is taken for the task's: %+v, %v", found, err)
		}
		close(release)
		q.Flush(time.Now().Add(time.Minute))
		if got := fmt.Sprint(wrote); got != "[a a a a a a a a own]" {
			t.Errorf("written: %s", got)
		}
	})
}

// leveled is a handler that leaves out what is below Info.
type leveled struct{ handle }

func (leveled) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func TestQueueConcurrent(t *testing.T) {
	var q Queue
	h, all := seen()
	log := q.Logger(slog.New(h))
	if q.Logger(log) != log {
		t.Error("a line would go through the queue twice")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				log.With("k", 1).Info("line")
				q.Flush(time.Time{})
			}
		})
	}
	wg.Wait()
	q.Flush(time.Now().Add(time.Minute))
	if n := len(all()); n != 1600 {
		t.Errorf("%d lines", n)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Nanosecond: "0s", 1500 * time.Nanosecond: "0.000002s", 123 * time.Millisecond: "0.123s",
		1500 * time.Millisecond: "1.5s", 25 * time.Second: "25s", 90*time.Minute + time.Millisecond: "5400.001s", -time.Second: "-1s", 1627187 * time.Microsecond: "1.627187s",
	} {
		got := Seconds(d)
		if back, err := time.ParseDuration(got); got != want || err != nil || back != d.Round(time.Microsecond) {
			t.Errorf("%v: %s, want %s; read back as %v, %v", d, got, want, back, err)
		}
	}
}

// time.ParseDuration reads what Seconds writes.
func FuzzSeconds(f *testing.F) {
	f.Add(int64(1500000001))
	f.Add(int64(-1))
	f.Add(int64(365 * 24 * time.Hour))
	f.Fuzz(func(t *testing.T, ns int64) {
		d := time.Duration(ns) % (250 * 365 * 24 * time.Hour)
		if back, err := time.ParseDuration(Seconds(d)); err != nil || back != d.Round(time.Microsecond) {
			t.Errorf("%d is %s, read back as %d, %v", d, Seconds(d), back, err)
		}
	})
}
