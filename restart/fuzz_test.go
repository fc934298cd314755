package restart

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A valid policy's delays begin with 0 and Min, never shrink, and stay within Max. A
// run's wait adds the jitter and no more, and the level moves as documented.
func FuzzPolicy(f *testing.F) {
	f.Add(int64(0), int64(0), 0.0, 0.0, int64(0), uint8(20), int64(7))
	f.Add(int64(time.Second), int64(time.Second), 1.0, -1.0, int64(time.Minute), uint8(1), int64(-1))
	f.Add(int64(1), int64(3), 1.5, 1.0, int64(4), uint8(9), int64(1)<<62)
	f.Add(int64(1), int64(1)<<62, 1e300, 0.5, int64(1)<<62+1, uint8(200), int64(0))
	f.Fuzz(func(t *testing.T, lo, hi int64, factor, jitter float64, stable int64, levels uint8, run int64) {
		p := Policy{Min: time.Duration(lo), Max: time.Duration(hi), Factor: factor, Jitter: jitter, Stable: time.Duration(stable)}
		if err := p.Validate(); err != nil {
			if !strings.HasPrefix(err.Error(), "restart: ") || !regexp.MustCompile(`(Min|Max|Factor|Jitter|Stable): `).MatchString(err.Error()) {
				t.Error(err)
			}
			return
		}
		full := p.filled()
		if d := p.Delay(0); d != 0 {
			t.Errorf("%+v: level 0 has a delay of %v", p, d)
		}
		if d := p.Delay(1); d > full.Min || d <= 0 || d < full.Min && full.Jitter <= 0 {
			t.Errorf("%+v: level 1 has a delay of %v", p, d)
		}
		before := time.Duration(0)
		for level := 1; level <= int(levels); level++ {
			d := p.Delay(level)
			reached, wait := full.decide(level, 0, false, 0, run)
			if d < before || d > full.Max || wait < d || wait > full.Max || float64(wait-d) > max(full.Jitter, 0)*float64(d)+1 {
				t.Fatalf("%+v: level %d has a delay of %v after %v, waits %v", p, level, d, before, wait)
			}
			if reached > level || full.Factor > 1 && reached < level && p.Delay(reached) != d {
				t.Fatalf("%+v: level %d is taken as %d", p, level, reached)
			}
			before = d
		}
	})
}

// Whatever is in the file, Begin starts the run, after no longer wait than the policy's,
// and the file is then a ledger with that run or as it was before. Table changes nothing.
func FuzzLedgerFile(f *testing.F) {
	f.Add(true, uint16(0), []byte{}, uint8(0))
	f.Add(true, uint16(5*slotSize), bytes.Repeat([]byte{0}, 3*slotSize), uint8(1))
	f.Add(true, uint16(len(head)-1), []byte{version + 1}, uint8(2))
	f.Add(false, uint16(0), []byte("[database]\nuser = x\n"), uint8(0))
	f.Add(false, uint16(0), []byte(head), uint8(0))
	f.Add(false, uint16(ringSize), []byte{0}, uint8(0))
	f.Fuzz(func(t *testing.T, ring bool, at uint16, patch []byte, sealed uint8) {
		var b []byte
		if ring {
			b = full()
		}
		n := int(at) % (ringSize + 1)
		patch = patch[:min(len(patch), 2*ringSize)]
		if more := n + len(patch) - len(b); more > 0 {
			b = append(b, make([]byte, more)...)
		}
		copy(b[n:], patch)
		if i := int(sealed) % slots * slotSize; i+slotSize <= len(b) {
			seal(b[i : i+slotSize])
		}
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			if err := os.WriteFile(w.path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			old, _, _ := read(bytes.NewReader(b))
			longest := w.p.filled().Max
			for _, r := range old {
				longest = max(longest, r.asked)
			}
			w.ledger().Table()
			if after, _ := os.ReadFile(w.path); !bytes.Equal(after, b) {
				t.Fatal("Table changed the file")
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), longest+time.Second, io.ErrNoProgress)
			defer cancel()
			l := w.ledger()
			if err := l.Begin(ctx); err != nil {
				t.Fatalf("Begin: %v; %s", err, &w.log)
			}
			after, _ := os.ReadFile(w.path)
			h, size, err := read(bytes.NewReader(after))
			switch {
			case bytes.Equal(after, b):
				if err == nil || !strings.Contains(w.log.String(), "ledger unavailable") {
					t.Fatalf("the file is left alone: %v; %s", err, &w.log)
				}
			case err != nil || size != ringSize || h[len(h)-1].run != l.run.run:
				t.Fatalf("the file has %d bytes, %v, last run %v; began %+v", size, err, h, l.run)
			}
		})
	})
}

// Whatever a lock's file says, Acquire takes the lock, lingers for Linger or not at
// all, and the file then names this process. Text that no Lock wrote names no process.
func FuzzLockFile(f *testing.F) {
	f.Add("pid 12 since 2026-05-20T10:00:00Z")
	f.Add("pid 12 since 2026-05-20T10:00:00Z, released 2026-05-20T10:00:01Z")
	f.Add("pid 12 since 2026-05-20T10:00:00Z, released soon")
	f.Add("pid -1 since 2026-05-20T10:00:00+02:00\n\n")
	f.Add("4711\n")
	f.Add("")
	named := regexp.MustCompile(`^pid \+?\d+ since [-+.,:TZ\d]+$`)
	f.Fuzz(func(t *testing.T, text string) {
		text = text[:min(len(text), lineSize)]
		if who, _ := holder(strings.NewReader("\x00" + text)); who != unnamed && !named.MatchString(who) {
			t.Errorf("%q names the holder %q", text, who)
		}
		synctest.Test(t, func(t *testing.T) {
			l := &Lock{Path: filepath.Join(t.TempDir(), "lock"), Linger: time.Minute}
			if err := os.WriteFile(l.Path, []byte("\x00"+text), 0o600); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			acquired(t, l)
			if took := time.Since(began); took != 0 && took != l.Linger {
				t.Errorf("%q: Acquire took %v", text, took)
			}
			released(t, l)
			again := time.Now()
			acquired(t, l)
			if time.Since(again) != 0 {
				t.Errorf("%q: Acquire lingers after a Release", text)
			}
			released(t, l)
		})
	})
}
