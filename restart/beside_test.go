package restart

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// freezes makes all writes wait, and reads too, from now until thaw is called.
func (w *world) freezes(reads bool) (thaw func()) {
	c, good := make(chan struct{}), w.open
	w.open = func(path string) (file, error) {
		f, err := good(path)
		if err != nil {
			return nil, err
		}
		return &held{f, c, reads}, nil
	}
	return func() { close(c) }
}

// A held file blocks its writes until its channel is closed, as a frozen disk does.
// Nothing else can end them.
type held struct {
	file
	thawed chan struct{}
	reads  bool
}

func (f *held) ReadAt(b []byte, off int64) (int, error) {
	if f.reads {
		<-f.thawed
	}
	return f.file.ReadAt(b, off)
}

func (f *held) WriteAt(b []byte, off int64) (int, error) {
	<-f.thawed
	return f.file.WriteAt(b, off)
}

// On a frozen disk, Begin ends with its context. Its request is undone when the disk
// answers again, so the next Begin finds no run that died.
func TestFrozenBegin(t *testing.T) {
	for _, same := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.fail(t, 1)
			time.Sleep(time.Minute) // nothing is owed
			thaw := w.freezes(false)
			l := w.ledger()
			for range 3 { // the same request still hangs
				ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, io.EOF)
				begin := time.Now()
				if err := l.Begin(ctx); err != io.EOF || time.Since(begin) != 3*time.Second {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
				cancel()
				l.End(errRun) // there is no run
			}
			thaw()
			synctest.Wait()
			if !same {
				l = w.ledger()
			}
			begin := time.Now()
			if err := l.Begin(t.Context()); err != nil || time.Since(begin) != 0 || l.run.level != 1 {
				t.Errorf("same %v: waits %v, %+v, %v", same, time.Since(begin), l.run, err)
			}
			table, err := l.Table()
			if rows := strings.Count(table, "\n"); err != nil || rows != 4 || strings.Count(table, "stopped") != 1 {
				t.Errorf("%v\n%s", err, table)
			}
		})
	}
}

// The time that a frozen disk took is no part of the run. It forgives nothing, whether
// the run ends or dies.
func TestFrozenTimeIsNoRun(t *testing.T) {
	for _, dies := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.fail(t, 4)
			time.Sleep(time.Minute)
			thaw := w.freezes(false)
			time.AfterFunc(8*time.Second, thaw)
			l, took := w.begin(t)
			if took != 8*time.Second {
				t.Errorf("took %v", took)
			}
			synctest.Wait()
			time.Sleep(w.p.filled().Stable - 4*time.Second)
			if !dies {
				l.End(errRun)
			}
			if l, _ = w.begin(t); l.run.level != 5 {
				t.Errorf("dies %v: level %d", dies, l.run.level)
			}
		})
	}
}

// Nor is it a part of the last run, which died before.
func TestFrozenTimeIsNotTheLastRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 4)
		w.begin(t)
		time.Sleep(w.p.filled().Stable - 4*time.Second)
		time.AfterFunc(8*time.Second, w.freezes(true))
		if l, _ := w.begin(t); l.run.level != 5 {
			t.Errorf("level %d", l.run.level)
		}
	})
}

// A disk that stays frozen stops neither a service nor its end. The history goes on
// in memory, and on the disk once that answers again.
func TestFrozenForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 3)
		time.Sleep(time.Minute)
		thaw := w.freezes(false)
		l := w.ledger()
		for i := range 3 {
			w.log.Reset()
			begin := time.Now()
			err := l.Begin(t.Context())
			took := time.Since(begin)
			if err != nil || took < beginPatience || took > 2*beginPatience+4*time.Second || strings.Count(w.log.String(), errFrozen.Error()) != 1 {
				t.Errorf("Begin %d: %v after %v; %s", i, err, took, &w.log)
			}
			begin = time.Now()
			if l.End(errRun); time.Since(begin) != endPatience {
				t.Errorf("End took %v", time.Since(begin))
			}
		}
		thaw()
		begin := time.Now()
		if err := l.Begin(t.Context()); err != nil || time.Since(begin) > 4*time.Second || l.run.level < 3 {
			t.Errorf("%v after %v, %+v", err, time.Since(begin), l.run)
		}
		l.End(errRun)
		if l, _ := w.begin(t); l.run.level < 4 || l.run.seq == 0 {
			t.Errorf("%+v", l.run)
		}
	})
}

// If the disk answers only after End's bound, a process that lives on still writes the
// end, once.
func TestFrozenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, _ := w.begin(t)
		thaw := w.freezes(false)
		begin := time.Now()
		if l.End(errRun); time.Since(begin) != endPatience || strings.Count(w.log.String(), errFrozen.Error()) != 1 {
			t.Errorf("took %v; %s", time.Since(begin), &w.log)
		}
		thaw()
		synctest.Wait()
		begin = time.Now()
		if err := l.Begin(t.Context()); err != nil || time.Since(begin) != 0 || l.run.level != 1 {
			t.Errorf("waits %v, %+v, %v", time.Since(begin), l.run, err)
		}
		if table, err := l.Table(); err != nil || strings.Count(table, "\n") != 3 || strings.Count(table, "failed") != 1 {
			t.Errorf("%v\n%s", err, table)
		}
	})
}
