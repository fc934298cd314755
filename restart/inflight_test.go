package restart

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"time"
)

// The marks are SipHash-2-4, of which the vectors are by its authors.
func TestMark(t *testing.T) {
	var s salt
	in := ""
	for i := range s {
		s[i] = byte(i)
		in += string(rune(i))
	}
	for n, want := range map[int]mark{0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5} {
		if got := s.mark(in[:n]); got != want&^0xff {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
	}
}

// twice returns the file of a run that died with a and b in flight, after one that died
// with b, and the start of that run.
func twice() (image, record) {
	s := salt{1, 2, 3}
	start := record{seq: 1, run: 1, salt: s, moment: moment{up: 10, boot: 1}}
	m := image(make([]byte, boxSize))
	m.begin(start)
	put := func(place int, session string) { m.set(headWords+int(m.live())*room+place, uint64(s.mark(session))) }
	put(7, "b")
	m.died(start, 0, moment{up: 20, boot: 1}, time.Hour)
	start.run, start.up = 3, 30
	m.begin(start)
	put(0, "a")
	put(room-1, "b")
	copy(m, boxMagic)
	m.set(atSum, m.sum())
	return m, start
}

// A damaged byte accuses no session, and takes at most one from those in flight unless
// it takes the whole table.
func TestInflightDamage(t *testing.T) {
	sound, start := twice()
	now := moment{up: 100, boot: 1}
	a, b := start.salt.mark("a"), start.salt.mark("b")
	accusedBy := func(content []byte) ([]mark, *death) {
		m, _ := parse(content)
		if m == nil {
			return nil, nil
		}
		d := m.died(start, 1, now, time.Hour)
		all, _, _ := m.accused(2, 8, now, time.Hour)
		return all, d
	}
	if all, d := accusedBy(bytes.Clone(sound)); !slices.Equal(all, []mark{b}) || d == nil || len(d.cut) != 2 {
		t.Fatalf("undamaged: %x, %+v", all, d)
	}
	places := []int{8 * headWords, 8*headWords + 7, 8 * (headWords + 7), 8 * (headWords + room), boxSize - 8, boxSize - 1}
	for i := range 8 * headWords {
		places = append(places, i)
	}
	for i := 8 * headWords; i < boxSize; i += 511 {
		places = append(places, i)
	}
	for _, i := range places {
		for bit := range 9 {
			damaged := bytes.Clone(sound)
			if damaged[i] ^= 1 << bit; bit == 8 {
				damaged[i] = ^damaged[i]
			}
			all, d := accusedBy(damaged)
			if slices.Contains(all, a) || len(all) > 1 || len(all) == 1 && all[0] != b {
				t.Fatalf("byte %d, bit %d: accused are %x", i, bit, all)
			}
			if d != nil && (len(d.cut) < 1 || len(d.cut) > 3 || d.up < start.up || d.up > now.up) {
				t.Fatalf("byte %d, bit %d: %+v", i, bit, d)
			}
		}
	}
	// A stop that was requested stays one with any byte of its word damaged.
	sound.set(atStop, ^uint64(0))
	for i := range 8 {
		for bit := range 8 {
			damaged := bytes.Clone(sound)
			damaged[8*atStop+i] ^= 1 << bit
			if all, d := accusedBy(damaged); len(all) != 0 || d == nil {
				t.Fatalf("byte %d, bit %d: %x, %+v", i, bit, all, d)
			}
		}
	}
}

// Whatever is in the file, reading it and beginning a run in it must not panic, and
// after that the file is sound.
func FuzzInflight(f *testing.F) {
	sound, start := twice()
	f.Add([]byte{}, []byte{}, uint16(0))
	f.Add([]byte(sound[:8*headWords]), []byte(sound[8*headWords:8*headWords+64]), uint16(3))
	f.Add([]byte("notes"), []byte{1}, uint16(boxSize-1))
	f.Add([]byte(boxMagic), []byte{}, uint16(8))
	f.Fuzz(func(t *testing.T, head, words []byte, size uint16) {
		content := make([]byte, boxSize)
		copy(content, sound)
		copy(content, head)
		copy(content[8*headWords:], words)
		copy(content[boxSize-len(words)%boxSize:], words)
		sealed := image(bytes.Clone(content)) // with sums that are right
		sealed.set(atDeadSum, crc(sealed.area(1-sealed.live())))
		sealed.set(atSum, sealed.sum())
		for _, content := range [][]byte{content, content[:size], head, sealed} {
			m, err := parse(bytes.Clone(content))
			if m == nil {
				if err == nil {
					t.Fatal("no image and no reason")
				}
				continue
			}
			now := moment{up: 100, boot: 1}
			m.died(start, 1, now, time.Hour)
			m.begin(record{run: 5, salt: start.salt, moment: now})
			var file memory
			if err := m.write(&file); err != nil {
				t.Fatal(err)
			}
			again, err := parse(file[:])
			if err != nil || len(marks(again.area(again.live()))) != 0 || again.word(atRun) != 5 {
				t.Fatal(err, again.word(atRun))
			}
		}
	})
}

type memory [boxSize]byte

func (m *memory) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }

// marks returns the marks of an area with their notes.
func marks(area []byte) map[mark]byte { return maps.Collect(entries(area)) }
