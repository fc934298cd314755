package restart

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"sort"
	"time"
)

// The ring is a file of 64 slots, with one record each. Record n is written in place,
// to slot n modulo 64, so a torn write loses only that record, and a full disk does
// not matter.
const (
	slots    = 64
	slotSize = 256
	ringSize = slots * slotSize
)

// A slot is 32 words of 8 bytes, little-endian. The first word is the head, whose
// first byte belongs to the lock. The last 4 bytes are the CRC-32C of all from the
// second byte on. A later version keeps these places.
const (
	magic   = "evkeel"
	version = 1
	head    = "\x00" + magic + "\x01"
	sumAt   = slotSize - 4
	saltAt  = 13 * 8 // after the 13 words
	cutAt   = saltAt + 16
)

func sum(slot []byte) uint32 {
	return crc32.Checksum(slot[1:sumAt], crc32.MakeTable(crc32.Castagnoli))
}

// A record is the start of a run if its cause is open, and its end otherwise.
type record struct {
	seq   uint64 // from 1
	run   uint64 // the seq of the run's start
	cause cause
	level int           // a start: the level it began at; an end: the level it leads to
	took  time.Duration // a start: how long it waited; an end: how long the run lasted
	asked time.Duration // an end: the longest [RetryAfter], or 0
	pid   uint64
	who   uint64 // from system.self
	moment
	salt salt
	cuts int    // how many sessions were cut, or in flight at the death
	cut  prints // those of them that fit
	late        // since version 1 had 8 prints; zeros in older files
}

// A late is what was added to a record later. It has the last 100 bytes of a slot.
type late struct {
	again uint32 // how many of the cut sessions the run before cut too
	over  uint32 // a death: how many entries the black box had no room for
	crash string // a death: the first line of the crash output
}

const (
	lateAt    = cutAt + 8*4
	crashAt   = lateAt + 4 + 4 + 1
	mostCrash = sumAt - crashAt
)

func (l *late) encode(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, l.again)
	b = binary.LittleEndian.AppendUint32(b, l.over)
	return append(append(b, byte(len(l.crash))), l.crash...)
}

func decodeLate(b []byte) late {
	return late{
		again: binary.LittleEndian.Uint32(b), over: binary.LittleEndian.Uint32(b[4:]),
		crash: string(b[9:][:min(int(b[8]), mostCrash)]),
	}
}

func (r *record) encode() []byte {
	b := append(make([]byte, 0, slotSize), head...)
	for _, word := range [...]uint64{
		r.seq, r.run, uint64(r.cause), uint64(r.level), uint64(r.took), uint64(r.asked), r.pid, r.who,
		uint64(r.wall), uint64(r.up), r.boot, uint64(r.cuts),
	} {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	b = append(b, r.salt[:]...)
	for _, c := range r.cut {
		b = binary.LittleEndian.AppendUint32(b, c)
	}
	b = r.late.encode(b)[:slotSize]
	binary.LittleEndian.PutUint32(b[sumAt:], sum(b))
	return b
}

// isSlot reports whether b has the head of a slot of any version.
func isSlot(b []byte) bool { return string(b[1:1+len(magic)]) == magic }

func seq(slot []byte) uint64 { return binary.LittleEndian.Uint64(slot[8:]) }

// decode reads a slot. If the slot is empty, torn or damaged, it returns a record
// without a seq. Newer reports that a later version wrote the slot.
func decode(b []byte) (r record, newer bool) {
	if !isSlot(b) || binary.LittleEndian.Uint32(b[sumAt:]) != sum(b) {
		return record{}, false
	}
	if b[len(head)-1] != version {
		return record{}, b[len(head)-1] > version
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	if word(1) == 0 || word(2) == 0 || word(2) > word(1) || word(3) >= uint64(causes) || word(4) > math.MaxInt32 {
		return record{}, false
	}
	r = record{
		seq: word(1), run: word(2), cause: cause(word(3)), level: int(word(4)),
		took: time.Duration(word(5)), asked: time.Duration(word(6)), pid: word(7), who: word(8),
		moment: moment{int64(word(9)), int64(word(10)), word(11)},
		cuts:   int(word(12)), salt: salt(b[saltAt:cutAt]),
	}
	for i := range r.cut {
		r.cut[i] = binary.LittleEndian.Uint32(b[cutAt+4*i:])
	}
	r.late = decodeLate(b[lateAt:sumAt])
	return r, false
}

var (
	errBusy    = errors.New("another process has held its lock for longer than usual")
	errNewer   = errors.New("a later version of this library wrote it, so it is left alone")
	errForeign = errors.New("it is not a ledger, so it is left alone; set Path to a file that only the ledger uses")
	errCorrupt = errors.New("it is a ledger, but none of its records can be read")
)

// read returns the records in f, and its size, but ringSize+1 if it is longer. It
// changes nothing and may be called while others write. An empty history and a nil
// error mean that the file never had a record.
func read(f io.ReaderAt) (h history, size int, err error) {
	b := make([]byte, ringSize+1) // one more byte shows that the file is longer
	n, err := f.ReadAt(b[1:], 1)
	if err != nil && err != io.EOF {
		return nil, 0, err
	}
	size = n + 1
	if size <= ringSize && len(bytes.Trim(b, "\x00")) == 0 {
		return nil, size, nil // just made, or its maker died before the first record
	}
	h = make(history, 0, slots+2) // with room for what is appended
	slot := func(i int) []byte { return b[i*slotSize : (i+1)*slotSize] }
	newest := 0 // unless it is damaged; from there on, the slots are almost sorted
	for i := range slots {
		if seq(slot(i)) > seq(slot(newest)) {
			newest = i
		}
	}
	err = errForeign
	for i := range slots {
		i = (newest + 1 + i) % slots
		r, newer := decode(slot(i))
		if newer {
			return nil, size, errNewer
		}
		if r.seq != 0 && r.seq%slots == uint64(i) {
			h = append(h, r)
		} else if isSlot(slot(i)) {
			err = errCorrupt
		}
	}
	if len(h) == 0 {
		return nil, size, err
	}
	// By index: slices.SortFunc would copy two records for each comparison.
	less := func(i, j int) bool { return h[i].run < h[j].run || h[i].run == h[j].run && h[i].seq < h[j].seq }
	if !sort.SliceIsSorted(h, less) {
		sort.Slice(h, less)
	}
	return h, size, nil
}

// A ring is the file in use, with its history.
type ring struct {
	*hold // nil if the file cannot be written
	history
	err error // why it cannot
}

// edit calls do with the ring at path, under the file's lock. If the file can only be
// read, do gets the history without a hold.
func (s *system) edit(path string, do func(*ring)) {
	h, err := s.grabSoon(path)
	if h != nil {
		defer h.release()
		r := ring{hold: h}
		if r.history, err = h.load(path); err != nil {
			r.hold, r.err = nil, err
		}
		do(&r)
		return
	}
	if err == nil {
		err = errBusy // its holder may be a stopped process
	}
	r := ring{err: err}
	if f, err := s.look(path); err == nil {
		defer f.Close()
		if r.history, _, err = read(f); err != nil {
			r.err = err
		}
	}
	do(&r)
}

// append writes a record as the next one, and returns it, or none if it could not be
// written. A record that could not be synced is returned with the error: it outlives
// the process, if not the machine.
func (r *ring) append(rec record) (record, error) {
	if r.hold == nil {
		return record{}, r.err
	}
	rec.seq, rec.salt = rec.run+1, r.salt(rec.salt) // even if the file with its start is gone
	for i := range r.history {
		rec.seq = max(rec.seq, r.history[i].seq+1)
	}
	if rec.run == 0 { // a start, or an end without a recorded start
		rec.run = rec.seq
	}
	written, err := r.put(rec)
	if !written {
		return record{}, err
	}
	r.history = append(r.history, rec)
	return rec, err
}

// put writes a record to its slot and syncs the file.
func (r *ring) put(rec record) (written bool, err error) {
	if _, err := r.WriteAt(rec.encode()[1:], int64(rec.seq%slots)*slotSize+1); err != nil {
		return false, err
	}
	return true, r.Sync()
}
