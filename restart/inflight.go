package restart

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"iter"
	"math"
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

// A table finds the word of a mark in an image, with open addressing: marks are hashes
// already. It has twice as many places as both areas have words. With maps, a Begin with
// a full box took ten times as long.
type table [4 * 4096]uint16

// at returns the place that has the index of the mark's word, or that for it, which is 0.
func (t *table) at(m image, of mark) *uint16 {
	for i := of >> 32; ; i++ {
		if at := &t[i%mark(len(t))]; *at == 0 || mark(m.word(int(*at))&^0xff) == of {
			return at
		}
	}
}

// A death is what is known of a run that died.
type death struct {
	up     int64    // ns since the boot at its last sign of life
	cut    []uint32 // the prints of what was in flight
	again  []uint32 // those that were in flight at the death before, too
	before uint64   // the run of that death
	over   int      // how many entries were not recorded
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
		cut, again := m.swap(newest, stable, start.up, now.up)
		return m.death(cut, again, before)
	case m.word(atDead) != run:
		m.forget()
		m.set(atRun, 0)
		return nil
	}
	return m.death(m.cut(), nil, 0)
}

// death returns the death that the box keeps.
func (m image) death(cut, again []uint32, before uint64) *death {
	return &death{
		up: int64(m.word(atDeadUp)), cut: cut, again: again, before: before, over: int(min(m.word(atDeadOver), math.MaxInt32)),
	}
}

// cut returns the prints of what was in flight at the death that the box keeps.
func (m image) cut() []uint32 {
	cut := make([]uint32, 0, room)
	for mark, note := range entries(m.area(1 - m.live())) {
		if note&inFlight != 0 {
			cut = append(cut, mark.print())
		}
	}
	return cut
}

// swap makes what is live the last death. It returns the prints of these, and of those
// among them that were in flight at the death before, too.
func (m image) swap(newest uint64, stable time.Duration, began, now int64) (cut, again []uint32) {
	up := int64(m.word(atBeat))
	if up < began || up > now { // damaged
		up = now
	}
	since, kept := int64(m.word(atSuspect)), m.deathKept() && m.word(atDead) >= newest
	accuses := kept && up-since < int64(stable)
	stopped := m.word(atStop) != 0
	first := headWords + int(m.live())*room
	earlier := headWords + int(1-m.live())*room
	cut, again = make([]uint32, 0, room), make([]uint32, 0, room)
	var index table
	for i := earlier; kept && i < earlier+room; i++ {
		if w := m.word(i); w&^0xff != 0 {
			*index.at(m, mark(w&^0xff)) = uint16(i)
		}
	}
	end, done := first, func(i uint16) bool { return int(i) >= first && int(i) < first+room }
	// In the order of the places, so that no write that ends early loses a mark.
	for i := first; i < first+room; i++ {
		w := m.word(i)
		of, note := mark(w&^0xff), byte(w)
		if of == 0 || note != 0 && note&inFlight == 0 {
			continue
		}
		at := index.at(m, of)
		if done(*at) {
			continue
		}
		var then byte
		if *at != 0 {
			then = byte(m.word(int(*at)))
		}
		cut = append(cut, of.print())
		if *at = uint16(end); then&inFlight != 0 {
			again = append(again, of.print())
		}
		times := then &^ inFlight
		if !accuses {
			times = 0
		}
		if !stopped {
			times = min(times+1, mostTimes)
		}
		m.set(end, uint64(of)|uint64(times|inFlight))
		end++
	}
	for i := earlier; stopped && accuses && i < earlier+room && end < first+room; i++ {
		// Those in flight at earlier deaths stay accused.
		if w := m.word(i) &^ inFlight; byte(w) > 0 && !done(*index.at(m, mark(w&^0xff))) {
			m.set(end, w)
			end++
		}
	}
	area := m.area(m.live())
	clear(area[8*(end-first):])
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
	return cut, again
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
// of these was less than stable ago, and when they cease to be suspects. It returns
// most of them at most, and how many there are.
func (m image) accused(n, most int, now moment, stable time.Duration) (some []mark, all int, until int64) {
	until = int64(m.word(atSuspect)) + int64(stable)
	if !m.deathKept() || m.word(atBoot) != now.boot || now.up >= until {
		return nil, 0, 0
	}
	for mark, note := range entries(m.area(1 - m.live())) {
		if int(note&^inFlight) >= n {
			if all++; all <= most {
				some = append(some, mark)
			}
		}
	}
	return some, all, until
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
