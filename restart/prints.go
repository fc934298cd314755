package restart

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
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

// fingerprint returns 4 bytes of a session's hash, never 0. It does not reveal the
// session, but a reader of the file has the salt and can test a guess.
func (s salt) fingerprint(session string) uint32 {
	sum := sha256.Sum256(append(s[:], session...))
	return max(1, binary.LittleEndian.Uint32(sum[:]))
}

// prints are the fingerprints that fit into a record. Unused places are 0.
type prints [8]uint32

// both returns those of a that are in b too.
func both(a []uint32, b prints) []uint32 {
	return slices.DeleteFunc(slices.Clone(a), func(f uint32) bool { return f == 0 || !slices.Contains(b[:], f) })
}

// cut returns the fingerprints of the sessions that run cut. Those that the run before
// cut too come first, and again is their number. Row is the longest row of runs, this
// one included, that all cut the same session.
func (h history) cut(run record, sessions []string) (cut prints, again, row int) {
	var all, twice []uint32
	for _, session := range sessions {
		all = append(all, run.salt.fingerprint(session))
	}
	slices.Sort(all)
	all = slices.Compact(all)
	var before []prints
	for start, end := range h.runs {
		if run.run == 0 || start.run < run.run && end.run < run.run {
			before = append(before, end.cut)
		}
	}
	row = 1
	left := all
	for _, cut := range slices.Backward(before) {
		if left = both(left, cut); len(left) == 0 {
			break
		}
		if row++; row == 2 {
			twice = left
		}
	}
	once := slices.DeleteFunc(all, func(f uint32) bool { return slices.Contains(twice, f) })
	copy(cut[:], slices.Concat(twice, once))
	return cut, len(twice), row
}
