package restart

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"slices"
)

// A salt differs between rings, and is the same in all records of one.
type salt [16]byte

// salt returns the ring's salt. A ring without records takes s, or a new salt if s is
// zero.
func (h history) salt(s salt) salt {
	if len(h) > 0 {
		return h[0].salt
	}
	if s == (salt{}) {
		rand.Read(s[:])
	}
	return s
}

// A mark is 8 bytes of a session's hash. It does not reveal the session, but a reader
// of the file has the salt and can test a guess. The lowest byte is 0, so that a table
// has room for a note there, and the rest is not.
type mark uint64

// mark returns the session's hash by SipHash-2-4, with the salt as its key. A client
// that may choose its session cannot choose one with another client's hash. Our own
// code takes a string without a copy, for each request.
func (s *salt) mark(session string) mark {
	k0, k1 := binary.LittleEndian.Uint64(s[:8]), binary.LittleEndian.Uint64(s[8:])
	v0, v1, v2, v3 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d, k0^0x6c7967656e657261, k1^0x7465646279746573
	last := uint64(len(session)) << 56
	for ; len(session) >= 8; session = session[8:] {
		m := uint64(session[0]) | uint64(session[1])<<8 | uint64(session[2])<<16 | uint64(session[3])<<24 |
			uint64(session[4])<<32 | uint64(session[5])<<40 | uint64(session[6])<<48 | uint64(session[7])<<56
		v0, v1, v2, v3 = sip(sip(v0, v1, v2, v3^m))
		v0 ^= m
	}
	for i := range len(session) {
		last |= uint64(session[i]) << (8 * i)
	}
	v0, v1, v2, v3 = sip(sip(v0, v1, v2, v3^last))
	v0, v1, v2, v3 = sip(sip(sip(sip(v0^last, v1, v2^0xff, v3))))
	return max(1<<8, mark(v0^v1^v2^v3)&^0xff)
}

// prints returns the distinct prints of sessions.
func (s *salt) prints(sessions []string) (all []uint32) {
	for _, session := range sessions {
		all = append(all, s.mark(session).print())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sip is one round.
func sip(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32) + v3
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

// print returns the 4 bytes of a mark that a record keeps, never 0.
func (m mark) print() uint32 { return max(1, uint32(m>>32)) }

// prints are the fingerprints that fit into a record. Unused places are 0.
type prints [8]uint32

// both returns those of a that are in b too. Each may have a whole black box.
func both(a, b []uint32) []uint32 {
	b = slices.Sorted(slices.Values(b))
	return slices.DeleteFunc(slices.Clone(a), func(f uint32) bool {
		_, found := slices.BinarySearch(b, f)
		return f == 0 || !found
	})
}

// A whole is all that a run cut, not only what fits into its record.
type whole struct {
	run uint64
	cut []uint32
}

// cut returns those prints of all that the record of run keeps. Those that the run
// before cut too come first, and again is their number. Row is the longest row of
// runs, this one included, that all cut the same session. Known is the whole of one of
// the runs before, but only as far as all has it too.
func (h history) cut(run record, all []uint32, known whole) (cut prints, again, row int) {
	var twice []uint32
	var before history
	for start, end := range h.runs {
		if run.run == 0 || start.run < run.run && end.run < run.run {
			before = append(before, end)
		}
	}
	row = 1
	left := all
	for _, end := range slices.Backward(before) {
		switch {
		case end.run != known.run:
			left = both(left, end.cut[:])
		case row == 1:
			left = known.cut
		default:
			left = both(left, known.cut)
		}
		if len(left) == 0 {
			break
		}
		if row++; row == 2 {
			twice = left
		}
	}
	n := copy(cut[:], twice)
	for _, p := range all {
		if n == len(cut) {
			break
		}
		if !slices.Contains(cut[:n], p) {
			cut[n] = p
			n++
		}
	}
	return cut, len(twice), row
}
