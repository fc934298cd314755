package restart

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// seal writes the right sum to a slot.
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

// full returns a ring whose slots are all in use.
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

// A damaged byte costs a full ring at most one record.
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
			if _, wait := p.owes(p.settle(start, end, seen, now, nil), now); wait > p.Max {
				t.Fatalf("byte %d: waits %v", i, wait)
			}
		}
		b[i] = was
	}
}

// A slot that was copied to another place does not count.
func TestRingCopiedSlot(t *testing.T) {
	b := full()
	copy(b[5*slotSize:6*slotSize], b[9*slotSize:])
	if h, _, err := read(bytes.NewReader(b)); len(h) != slots-1 || err != nil {
		t.Errorf("%d records, %v", len(h), err)
	}
}

// A slot that decodes encodes to the same bytes. No history makes a wait longer than
// Max or what RetryAfter asked for.
func FuzzDecode(f *testing.F) {
	b := full()
	f.Add(b[:slotSize], int64(1), int64(1), uint64(1))
	f.Add(b[slotSize:2*slotSize], int64(-1)<<63, int64(-1)<<63, uint64(2))
	f.Add([]byte("noise"), int64(1)<<62, int64(0), uint64(0))
	f.Fuzz(func(t *testing.T, slot []byte, wall, up int64, boot uint64) {
		slot = append(bytes.Clone(slot), make([]byte, slotSize)...)[:slotSize]
		if r, _ := decode(slot); r.seq == 0 {
			// With the right sum, the other checks are tried too.
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
			level, wait := p.owes(p.settle(start, end, up%2 == 0, now, nil), now)
			if level < 0 || wait < 0 || wait > max(p.Max, r.asked) {
				t.Fatalf("level %d, waits %v after %+v", level, wait, r)
			}
		}
	})
}

// If a full ring is cut or extended to any length, each whole slot is still a record.
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

// If the file is deleted during a run, the history is lost and nothing else.
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
