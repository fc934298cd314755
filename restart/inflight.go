package restart

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"iter"
	"time"
)

// The black box is a file of 64 KiB: a header and two areas. One area is live: each
// entry in flight has a word in it, its mark. The other keeps the last death: the
// marks that were in flight, each with a note in its lowest byte.
//
// When a run has died, the next Begin adds the notes to the live area, and one write
// of the header swaps the two. So a process that dies at any moment of that loses
// nothing: the next one finds the same, or what comes out of it.
const (
	boxSize   = 8 * boxWords
	boxWords  = 8192
	headWords = 128
	room      = (boxWords - headWords) / 2 // words of an area
	boxMagic  = "evkbox\x00\x01"           // with the format's version
)

// The words of the header. All are in the machine's byte order, as the file does not
// outlive a boot. The first 16 are under the sum. A running process stores the others,
// each in its own cache line.
const (
	atMagic = iota
	atSum   // CRC-32C of the next 14
	atBoot
	atRun // the run that has the live area, or 0
	atSalt
	_
	atLive    // which area is live: 0 or 1
	atDead    // the run of the last death, or 0
	atDeadSum // CRC-32C of its area
	atDeadUp  // when it died
	atSuspect // when the last death was that accuses
	atDeadOver

	atBeat = 16 // ns since the boot at the last sign of life
	atStop = 24 // not 0: a stop was requested
	atEnd  = 32 // not 0: the run has ended
	atOver = 40 // how many entries found no room
)

// The note of a mark: whether it was in flight at the last death, and at how many
// deaths in a row that accuse.
const (
	inFlight  = 0x80
	mostTimes = 0x7f
)

var (
	errBoxForeign = errors.New("it is not a black box, so it is left alone; remove it, or move the ledger")
	errBoxNewer   = errors.New("a later version of this library wrote it, so it is left alone")
	errBoxDamaged = errors.New("it is damaged, so what was in flight is not known; it starts again empty")
	errBoxBusy    = errors.New("another process uses it")
	errNoMap      = errors.New("this system cannot map a file")
)

// An image is the content of the file.
type image []byte

func (m image) word(i int) uint64        { return binary.NativeEndian.Uint64(m[8*i:]) }
func (m image) set(i int, v uint64)      { binary.NativeEndian.PutUint64(m[8*i:], v) }
func (m image) area(n uint64) []byte     { return m[8*(headWords+int(n)*room):][:8*room] }
func (m image) salt() salt               { return salt(m[8*atSalt:]) }
func (m image) live() uint64             { return m.word(atLive) & 1 }
func (m image) sum() uint64              { return crc(m[8*atBoot : 8*atBeat]) }
func (m image) deathKept() bool          { return m.word(atDead) != 0 }
func (m image) of(s salt, b uint64) bool { return b != 0 && m.word(atBoot) == b && m.salt() == s }

func crc(b []byte) uint64 {
	return uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// parse returns the image of a file's content, which may be short. If there is no
// usable header, the image is empty, with the reason if there is a need to know it.
// A file that is longer than boxSize gives one byte more.
func parse(b []byte) (image, error) {
	m := image(b)
	if len(b) != boxSize {
		m = make(image, boxSize)
		copy(m, b)
	}
	switch {
	case len(b) <= boxSize && len(bytes.TrimLeft(b, "\x00")) == 0: // new, or its maker died
		return m, nil
	case string(m[:6]) != boxMagic[:6]:
		return nil, errBoxForeign
	case m[7] > boxMagic[7] && len(b) >= 8:
		return nil, errBoxNewer
	case len(b) != boxSize || string(m[:8]) != boxMagic || m.word(atSum) != m.sum():
		clear(m)
		return m, errBoxDamaged
	}
	if m.deathKept() && crc(m.area(1-m.live())) != m.word(atDeadSum) {
		m.forget()
		return m, errBoxDamaged
	}
	return m, nil
}

// forget drops the last death.
func (m image) forget() {
	clear(m.area(1 - m.live()))
	m.set(atDead, 0)
}

// entries yields the marks of an area with their notes. In the live area one mark may be
// there several times, and a note without inFlight is of a swap that its process did
// not finish.
func entries(area []byte) iter.Seq2[mark, byte] {
	return func(yield func(mark, byte) bool) {
		for ; len(area) > 0; area = area[8:] {
			w := binary.NativeEndian.Uint64(area)
			if w&^0xff != 0 && !yield(mark(w&^0xff), byte(w)) {
				return
			}
		}
	}
}

// A table finds a mark among many, with open addressing: marks are hashes already. With
// maps, a Begin with a full box took ten times as long.
type table [2 * 4096]uint64

// at returns the word of m, or that for it, which is 0.
func (t *table) at(m mark) *uint64 {
	for i := m >> 32; ; i++ {
		if w := &t[i%mark(len(t))]; *w == 0 || mark(*w&^0xff) == m {
			return w
		}
	}
}

// A death is what is known of a run that died.
type death struct {
	up      int64    // ns since the boot at its last sign of life
	stopped bool     // a stop had been requested, so it accuses no session
	cut     []uint32 // the prints of what was in flight
	again   []uint32 // those that were in flight at the death before, too
	before  uint64   // the run of that death
	over    int      // how many entries were not recorded
}

// died returns the death of the run, if the box has it, and makes it the death that
// the box keeps. Newest is the run of the newest death that the ledger has. If the box
// does not have the death of the run, no session was in flight at the last deaths, as
// far as is known.
func (m image) died(start record, newest uint64, now moment, stable time.Duration) *death {
	run := start.run
	switch {
	case !m.of(start.salt, now.boot) || start.boot != now.boot:
		clear(m)
		return nil
	case m.word(atRun) == run && m.word(atEnd) != 0:
		// It ended well, though the ledger could not record that.
		m.set(atRun, 0)
		return nil
	case m.word(atRun) == run:
		before := m.word(atDead)
		again := m.swap(newest, stable, start.up, now.up)
		d := m.kept()
		d.again, d.before = again, before
		return &d
	case m.word(atDead) != run:
		m.forget()
		m.set(atRun, 0)
		return nil
	}
	d := m.kept()
	return &d
}

// kept returns the last death.
func (m image) kept() death {
	d := death{
		up: int64(m.word(atDeadUp)), stopped: m.word(atSuspect) != m.word(atDeadUp), // then an older one accuses, or none
		over: int(min(m.word(atDeadOver), 1<<31-1)),
	}
	d.cut = make([]uint32, 0, room)
	for mark, note := range entries(m.area(1 - m.live())) {
		if note&inFlight != 0 {
			d.cut = append(d.cut, mark.print())
		}
	}
	return d
}

// swap makes what is live the last death. It returns the prints of those that were in
// flight at the death before, too.
func (m image) swap(newest uint64, stable time.Duration, began, now int64) (again []uint32) {
	up := int64(m.word(atBeat))
	if up < began || up > now { // damaged
		up = now
	}
	var before table // and, with the note 0, what is done
	since, kept := int64(m.word(atSuspect)), m.deathKept() && m.word(atDead) >= newest
	earlier := m.area(1 - m.live())
	if !kept {
		earlier = nil
	}
	accuses := kept && up-since < int64(stable)
	for m, note := range entries(earlier) {
		*before.at(m) = uint64(m) | uint64(note)
	}
	stopped := m.word(atStop) != 0
	area, n := m.area(m.live()), 0
	put := func(m mark, note byte) {
		binary.NativeEndian.PutUint64(area[8*n:], uint64(m)|uint64(note))
		n++
	}
	again = make([]uint32, 0, room)
	// In the order of the places, so that no write that ends early loses a mark.
	for m, note := range entries(area) {
		w := before.at(m)
		then := byte(*w)
		if note != 0 && note&inFlight == 0 || *w != 0 && then == 0 {
			continue
		}
		*w = uint64(m)
		if then&inFlight != 0 {
			again = append(again, m.print())
		}
		times := then &^ inFlight
		if !accuses {
			times = 0
		}
		if !stopped {
			times = min(times+1, mostTimes)
		}
		put(m, times|inFlight)
	}
	if stopped && accuses { // those in flight at earlier deaths stay accused
		for m, note := range entries(earlier) {
			if times := note &^ inFlight; times > 0 && byte(*before.at(m)) != 0 && n < room {
				put(m, times)
			}
		}
	}
	clear(area[8*n:])
	if !stopped {
		since = up
	} else if !accuses {
		since = 0
	}
	m.set(atDead, m.word(atRun))
	m.set(atDeadSum, crc(area))
	m.set(atDeadUp, uint64(up))
	m.set(atSuspect, uint64(since))
	m.set(atDeadOver, m.word(atOver))
	m.set(atRun, 0)
	m.set(atLive, 1-m.live())
	return again
}

// begin makes the image that of a run that begins now.
func (m image) begin(run record) {
	dead := m.deathKept() && m.of(run.salt, run.boot)
	if !dead {
		clear(m)
	}
	clear(m.area(m.live()))
	clear(m[8*atBeat : 8*headWords])
	copy(m[8*atSalt:], run.salt[:])
	m.set(atBoot, run.boot)
	m.set(atRun, run.run)
	m.set(atBeat, uint64(run.up))
}

// accused returns the marks that were in flight at the last n deaths, if the newest
// of these was less than stable ago, and when they cease to be suspects.
func (m image) accused(n int, now moment, stable time.Duration) (all []mark, until int64) {
	until = int64(m.word(atSuspect)) + int64(stable)
	if !m.deathKept() || m.word(atBoot) != now.boot || now.up >= until {
		return nil, 0
	}
	for mark, note := range entries(m.area(1 - m.live())) {
		if int(note&^inFlight) >= n {
			all = append(all, mark)
		}
	}
	return all, until
}

// write writes the image: the areas first, as the header says what they mean.
func (m image) write(f io.WriterAt) error {
	copy(m, boxMagic)
	m.set(atSum, m.sum())
	_, err := f.WriteAt(m[8*headWords:], 8*headWords)
	if err == nil {
		_, err = f.WriteAt(m[:8*headWords], 0)
	}
	return err
}
