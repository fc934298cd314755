package restart

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"
)

// A faulty file fails where it has an error.
type faulty struct {
	file
	read, write, sync error
}

func (f *faulty) ReadAt(b []byte, off int64) (int, error) {
	if f.read != nil {
		return 0, f.read
	}
	return f.file.ReadAt(b, off)
}

func (f *faulty) WriteAt(b []byte, off int64) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return f.file.WriteAt(b, off)
}

func (f *faulty) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	return f.file.Sync()
}

// fault makes the world's disk fail in one place, and returns how to mend it.
func (w *world) fault(place string, err error) (mend func()) {
	open, lock := w.open, w.lock
	w.open = func(path string) (file, error) {
		if place == "open" {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		f, e := open(path)
		if e != nil {
			return nil, e
		}
		bad := &faulty{file: f}
		switch place {
		case "read":
			bad.read = err
		case "write":
			bad.write = err
		case "sync":
			bad.sync = err
		}
		return bad, nil
	}
	if place == "lock" {
		w.lock = func(*flock.Flock) (bool, error) { return false, err }
	}
	return func() { w.open, w.lock = open, lock }
}

// between makes the disk fail for a time.
func (w *world) between(from, to time.Duration, place string, err error) {
	begin, good := time.Now(), w.open
	w.fault(place, err)
	bad := w.open
	w.open = func(path string) (file, error) {
		if d := time.Since(begin); from <= d && d < to {
			return bad(path)
		}
		return good(path)
	}
}

// Whatever the disk refuses, a run begins after Min or what is owed, with one
// warning, and its end is no error.
func TestLedgerFaults(t *testing.T) {
	for _, err := range []error{syscall.EROFS, syscall.EACCES, syscall.ENOSPC, syscall.EIO} {
		for _, place := range []string{"open", "lock", "read", "write"} {
			for _, level := range []int{0, 3} {
				t.Run(place+" "+err.Error()+" level "+string(rune('0'+level)), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						w.fail(t, level)
						mend := w.fault(place, err)
						for i := range 3 {
							w.log.Reset()
							l, took := w.begin(t)
							want := time.Second
							if i == 0 && level > 0 && place != "read" { // what can be read is owed
								want = 4 * time.Second
							}
							if got := w.log.String(); took != want || strings.Count(got, "ledger unavailable") != 1 || !strings.Contains(got, err.Error()) {
								t.Errorf("waits %v, want %v; %q", took, want, got)
							}
							w.log.Reset()
							if l.End(errRun); w.log.Len() != 0 {
								t.Errorf("warned again: %s", &w.log)
							}
						}
						mend()
						l, _ := w.begin(t)
						defer w.fault(place, err)()
						w.log.Reset()
						if l.End(nil); strings.Count(w.log.String(), "ledger unavailable") != 1 {
							t.Errorf("the end is lost without a word: %q", &w.log)
						}
					})
				})
			}
		}
	}
}

// A disk that does not sync still has the history of its processes.
func TestLedgerNoSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, _ := w.begin(t)
		l.stop()
		w.fault("sync", syscall.EIO)
		for i, want := range []time.Duration{1, 1, 2, 4} {
			w.log.Reset()
			l, took := w.begin(t)
			if took != want*time.Second || l.run == nil || l.run.level != i || strings.Count(w.log.String(), "ledger unavailable") != 1 {
				t.Errorf("waits %v, %+v; %s", took, l.run, &w.log)
			}
			l.End(errRun)
		}
	})
}

// A fault that goes away during the wait costs no record, and no level.
func TestLedgerFaultPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 3)
		w.between(0, time.Second/2, "open", syscall.EIO)
		if l, took := w.begin(t); took != 4*time.Second || l.run == nil || l.run.level != 3 {
			t.Errorf("%v, %+v", took, l.run)
		}
	})
}

// One that comes during the wait does not make the next start come at once.
func TestLedgerFaultComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 1)
		time.Sleep(900 * time.Millisecond)
		w.between(50*time.Millisecond, time.Hour, "write", syscall.ENOSPC)
		if l, took := w.begin(t); took != time.Second || l.run.seq != 0 || !strings.Contains(w.log.String(), "no space left") {
			t.Errorf("%v, %+v, %s", took, l.run, &w.log)
		}
	})
}

func TestLedgerNoDirectory(t *testing.T) {
	for name, path := range map[string]func(dir string) string{
		"missing":     func(dir string) string { return filepath.Join(dir, "none", "ledger") },
		"a directory": func(dir string) string { return dir },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.path = path(t.TempDir())
				for range 2 {
					w.log.Reset()
					if _, took := w.begin(t); took != time.Second || strings.Count(w.log.String(), "ledger unavailable") != 1 {
						t.Errorf("waits %v; %s", took, &w.log)
					}
				}
			})
		})
	}
}

// While another process has the ring for longer than usual, the history is read
// and nothing is written.
func TestLedgerBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 4)
		before, _ := os.ReadFile(w.path)
		h, err := w.grab(w.path)
		if h == nil || err != nil {
			t.Fatal(err)
		}
		l, took := w.begin(t)
		h.release()
		after, _ := os.ReadFile(w.path)
		if took < 8*time.Second || took > 8*time.Second+250*time.Millisecond || l.run.seq != 0 || !bytes.Equal(before, after) {
			t.Errorf("waits %v, %+v", took, l.run)
		}
	})
}

// seal gives a slot the sum that it should have.
func seal(slot []byte) []byte {
	binary.LittleEndian.PutUint32(slot[sumAt:], sum(slot))
	return slot
}

// A later version's ring is left alone.
func TestLedgerNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 4)
		b, _ := os.ReadFile(w.path)
		b[2*slotSize+len(head)-1]++
		seal(b[2*slotSize : 3*slotSize])
		if err := os.WriteFile(w.path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		w.log.Reset()
		l, took := w.begin(t)
		l.End(nil)
		after, _ := os.ReadFile(w.path)
		if took != time.Second || !bytes.Equal(b, after) || !strings.Contains(w.log.String(), errNewer.Error()) {
			t.Errorf("waits %v; %s", took, &w.log)
		}
		if _, err := l.Table(); !errors.Is(err, errNewer) {
			t.Error(err)
		}
	})
}

// A ledger whose records are all damaged is moved away, as it is, and another
// begun. What its maker left half done is not, and a file that never was a ledger
// is left alone.
func TestLedgerCorrupt(t *testing.T) {
	damaged := full()
	for i := range slots {
		damaged[i*slotSize+100] ^= 1
	}
	damaged[7]++ // one has no magic either
	for _, tt := range []struct {
		name string
		file []byte
		want string // moved or foreign; "": it is used
	}{
		{"empty", nil, ""},
		{"half made", make([]byte, 5000), ""},
		{"made", make([]byte, ringSize), ""},
		{"damaged", damaged, "moved"},
		{"damaged and short", damaged[:1000], "moved"},
		{"damaged and long", append(bytes.Clone(damaged), 1), "moved"},
		{"noise", bytes.Repeat([]byte("noise"), 5000)[:ringSize], "foreign"},
		{"short", []byte("somebody's notes"), "foreign"},
		{"zeros, one too many", make([]byte, ringSize+1), "foreign"},
		{"long", bytes.Repeat([]byte("noise"), 5000), "foreign"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if err := os.WriteFile(w.path, tt.file, 0o600); err != nil {
					t.Fatal(err)
				}
				l, took := w.begin(t)
				l.End(errRun)
				log := w.log.String()
				here, err := os.ReadFile(w.path)
				moved, err2 := os.ReadFile(w.path + ".corrupt")
				switch tt.want {
				case "":
					if took != 0 || strings.Contains(log, "unavailable") || err2 == nil {
						t.Errorf("waits %v, moved: %v; %s", took, err2, log)
					}
				case "moved":
					if took != time.Second || err2 != nil || !bytes.Equal(moved, tt.file) || !strings.Contains(log, w.path+".corrupt") {
						t.Errorf("waits %v, moved: %v; %s", took, err2, log)
					}
				case "foreign":
					if took != time.Second || err != nil || !bytes.Equal(here, tt.file) || err2 == nil || strings.Count(log, "let Path name") != 1 || !strings.Contains(log, "path="+w.path) {
						t.Errorf("waits %v, %v, moved: %v; %s", took, err, err2, log)
					}
					if _, err := l.Table(); !errors.Is(err, errForeign) || !strings.Contains(err.Error(), w.path) {
						t.Error(err)
					}
					return
				}
				if l, took = w.begin(t); took != time.Second || l.run.seq != 3 {
					t.Errorf("then waits %v, %+v", took, l.run)
				}
			})
		})
	}
}

// A damaged ledger never takes the place of one before it, and after ten stays.
// A symbolic link to it stays a link.
func TestLedgerCorruptAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		target := w.path + ".target"
		if err := os.Symlink(target, w.path); err != nil {
			t.Skip("skipped: no symbolic links here:", err)
		}
		damage := func(n byte) []byte { return append([]byte(head), n) }
		for n := range byte(12) {
			w.log.Reset()
			if err := os.WriteFile(target, damage(n), 0o600); err != nil {
				t.Fatal(err)
			}
			w.begin(t)
			if want := n >= 10; want != strings.Contains(w.log.String(), "remove them") {
				t.Errorf("ledger %d: %s", n, &w.log)
			}
		}
		for n := range byte(10) {
			name := target + ".corrupt"
			if n > 0 {
				name += "." + strconv.Itoa(int(n))
			}
			if b, err := os.ReadFile(name); !bytes.Equal(b, damage(n)) {
				t.Error(name, b, err)
			}
		}
		if b, err := os.ReadFile(target); !bytes.Equal(b, damage(11)) {
			t.Error(b, err)
		}
		if info, err := os.Lstat(w.path); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Error("the link is gone", err)
		}
	})
}

// Of a ledger of another length all that can be read counts, and it gets its
// length back.
func TestLedgerLength(t *testing.T) {
	for _, size := range []int{slotSize*40 + 17, ringSize - 1, ringSize + 1, 3 * ringSize} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.fail(t, 4)
			if err := os.Truncate(w.path, int64(size)); err != nil {
				t.Fatal(err)
			}
			w.log.Reset()
			l, took := w.begin(t)
			info, err := os.Stat(w.path)
			if took != 8*time.Second || l.run.seq != 9 || strings.Contains(w.log.String(), "unavailable") || err != nil || info.Size() != ringSize {
				t.Errorf("size %d: waits %v, %+v, %v; %s", size, took, l.run, err, &w.log)
			}
		})
	}
}

// full returns a ring that has come round.
func full() []byte {
	b := make([]byte, ringSize)
	s := salt{1, 2, 3}
	for seq := uint64(101); seq < 101+slots; seq++ {
		r := record{seq: seq, run: seq, level: 3, salt: s, moment: moment{int64(seq), int64(seq), 1}, pid: 7, who: seq}
		if seq%2 == 0 {
			r.cause, r.run, r.cut = failed, seq-1, prints{1, 2, 3}
		}
		copy(b[seq%slots*slotSize:], r.encode())
	}
	return b
}

// Of a full ring one damaged byte costs one record at most.
func TestRingDamage(t *testing.T) {
	b := full()
	whole, _, err := read(bytes.NewReader(b))
	if err != nil || len(whole) != slots {
		t.Fatal(len(whole), err)
	}
	p := Policy{}.filled()
	for i, was := range b {
		for _, is := range []byte{^was, was ^ 1<<(i%8)} {
			b[i] = is
			h, size, err := read(bytes.NewReader(b))
			if err != nil || size != ringSize || len(h) < slots-1 {
				t.Fatalf("byte %d: %d records, %v", i, len(h), err)
			}
			for j, k := 0, 0; j < len(h); j, k = j+1, k+1 {
				if h[j] != whole[k] {
					k++
				}
				if h[j] != whole[k] {
					t.Fatalf("byte %d: a record that was not written: %+v", i, h[j])
				}
			}
			now := moment{200, 200, 1}
			start, end, seen := h.last(now.boot)
			if _, wait := p.owes(p.settle(start, end, seen, now), now); wait > p.Max {
				t.Fatalf("byte %d: waits %v", i, wait)
			}
		}
		b[i] = was
	}
}

// A slot that somebody copied to another place is none.
func TestRingCopiedSlot(t *testing.T) {
	b := full()
	copy(b[5*slotSize:6*slotSize], b[9*slotSize:])
	if h, _, err := read(bytes.NewReader(b)); len(h) != slots-1 || err != nil {
		t.Errorf("%d records, %v", len(h), err)
	}
}

// Any slot that decodes is one that encodes to the same, and no history makes a
// wait longer than Max or what was asked for.
func FuzzDecode(f *testing.F) {
	b := full()
	f.Add(b[:slotSize], int64(1), int64(1), uint64(1))
	f.Add(b[slotSize:2*slotSize], int64(-1)<<63, int64(-1)<<63, uint64(2))
	f.Add([]byte("noise"), int64(1)<<62, int64(0), uint64(0))
	f.Fuzz(func(t *testing.T, slot []byte, wall, up int64, boot uint64) {
		slot = append(bytes.Clone(slot), make([]byte, slotSize)...)[:slotSize]
		if r, _ := decode(slot); r.seq == 0 {
			// So that more than the sum is tried.
			copy(slot, head)
			seal(slot)
		}
		r, newer := decode(slot)
		if newer || r.seq == 0 {
			return
		}
		if again, _ := decode(r.encode()); again != r {
			t.Fatalf("%+v\n%+v", r, again)
		}
		now, p := moment{wall, up, boot}, Policy{}.filled()
		for _, pair := range [][2]record{{r, {}}, {{}, r}, {r, r}} {
			start, end := pair[0], pair[1]
			if start.cause != open || end.seq != 0 && end.cause == open {
				continue
			}
			level, wait := p.owes(p.settle(start, end, up%2 == 0, now), now)
			if level < 0 || wait < 0 || wait > max(p.Max, r.asked) {
				t.Fatalf("level %d, waits %v after %+v", level, wait, r)
			}
		}
	})
}

// Of a full ring that is cut or goes on at any length, each whole slot is a record,
// whatever follows it.
func FuzzLength(f *testing.F) {
	f.Add(uint16(0), []byte{})
	f.Add(uint16(ringSize), []byte{1})
	f.Add(uint16(ringSize-1), bytes.Repeat([]byte{7}, 3*slotSize))
	f.Add(uint16(1000), []byte(head))
	f.Fuzz(func(t *testing.T, keep uint16, more []byte) {
		b := full()
		n := min(int(keep), ringSize)
		b = append(b[:n:n], more...)
		h, size, err := read(bytes.NewReader(b))
		whole := n / slotSize
		if len(h) < whole || size > ringSize+1 || size < min(len(b), ringSize) {
			t.Fatalf("%d bytes and %d more: %d records of %d, size %d, %v", n, len(more), len(h), whole, size, err)
		}
		for _, r := range h {
			if again, _ := decode(r.encode()); again != r || err != nil {
				t.Fatal(r, err)
			}
		}
	})
}

// Who deletes the file during a run loses the history and nothing else.
func TestLedgerDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 2)
		l, _ := w.begin(t)
		err := os.Remove(w.path)
		l.End(errRun)
		if _, took := w.begin(t); took != 4*time.Second || err != nil {
			t.Errorf("waits %v, %v; %s", took, err, &w.log)
		}
	})
}

// A run whose end could not be written died to every other process. Its own
// process knows better, and tells the file as soon as it can.
func TestLedgerEndLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, _ := w.begin(t)
		mend := w.fault("write", syscall.EIO)
		for i, do := range []func(){func() {}, func() {}, mend, func() {}} {
			l.End(errRun)
			do()
			began := time.Now()
			if err := l.Begin(t.Context()); err != nil || time.Since(began) != time.Second<<i || l.run.level != i+1 {
				t.Errorf("run %d waits %v at level %d, %v", i, time.Since(began), l.run.level, err)
			}
		}
		l.stop()
		table, err := l.Table()
		// The first run's end came too late, the second's start has no record.
		if ends := column(table, -2)[1:]; err != nil || !slices.Equal(ends, []string{"failed", "failed", "stopped"}) {
			t.Errorf("%v, %v\n%s", ends, err, table)
		}
	})
}

// column returns a column of a table without its head, counted from its end if i
// is negative.
func column(table string, i int) (words []string) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		words = append(words, f[(i+len(f))%len(f)])
	}
	return words[1:]
}

// After a remount as read-only the history still counts, and what comes after it
// does in its own process.
func TestLedgerReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fail(t, 3)
		before, _ := os.ReadFile(w.path)
		mend := w.fault("open", syscall.EROFS)
		l := w.ledger()
		for i := range 4 {
			w.log.Reset()
			began := time.Now()
			if err := l.Begin(t.Context()); err != nil || time.Since(began) != 4*time.Second<<i || strings.Count(w.log.String(), "ledger unavailable") != 1 {
				t.Errorf("waits %v, %v; %s", time.Since(began), err, &w.log)
			}
			w.log.Reset()
			if l.End(errRun); w.log.Len() > 0 {
				t.Errorf("warned again: %s", &w.log)
			}
		}
		if after, _ := os.ReadFile(w.path); !bytes.Equal(before, after) {
			t.Error("it was written")
		}
		mend()
		// The level goes on from memory, and then from the file.
		for i, l := range []*Ledger{l, w.ledger()} {
			began := time.Now()
			if err := l.Begin(t.Context()); err != nil || time.Since(began) != 64*time.Second<<i || l.run.level != 7+i {
				t.Errorf("waits %v, %v; %s", time.Since(began), err, &w.log)
			}
			l.End(errRun)
		}
	})
}
