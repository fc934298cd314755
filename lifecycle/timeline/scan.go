package timeline

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

// A scanner finds out that a line is dull without taking it apart: it has none of
// the literals without which no rule matches.
//
// It looks at every second place for four bytes that one of the literals has at
// its beginning or one byte later, as each has five or more; letters count in
// both cases. On what it finds it compares the literals.
type scanner struct {
	grams [1 << 16 / 64]uint64
	at    map[uint32][]string // literals by their first, or second, four bytes
}

const (
	gram  = 4
	lower = 0x20202020
)

// extra are literals of the lines that are understood without a rule.
var extra = []string{
	`"level":"error`, `"priority":"3`, `"priority":"2`, `"priority":"1`, `"priority":"0`, // an error after a stop
	`"message":[`, `\u001`, `\u002`, `\u003`, `\u004`, `\u005`, `\u006`, `\u007`, // may hide anything
	`began "`, `began\"`, `began"`, `ended"`, `ended\"`, `opened"`, `opened\"`, `closed"`, `closed\"`, ` call began`, ` interrupted`,
	`"signal":"`, `\"signal\":\"`, ` signal=`, `"child":`, `\"child\":`, "began  ",
}

func newScanner(rules []rule) *scanner {
	s := &scanner{at: map[uint32][]string{}}
	for _, r := range rules {
		for _, h := range r.has {
			s.add(h)
		}
	}
	for _, e := range extra {
		s.add(e)
	}
	for w := range words {
		for _, form := range []string{`"` + w + `"`, `\"` + w + `\`, `msg=` + w, `msg="` + w, "info " + w, "warn " + w, "error " + w} {
			s.add(form)
		}
	}
	for w := range sessionWords {
		for _, form := range []string{`"` + w + `"`, `\"` + w + `\`, `msg=` + w, `msg="` + w} {
			s.add(form)
		}
	}
	return s
}

func (s *scanner) add(literal string) {
	for i := range 2 {
		g := binary.LittleEndian.Uint32([]byte(literal[i:])) | lower
		if !slices.Contains(s.at[g], literal) {
			s.at[g] = append(s.at[g], literal)
		}
		h := hash(g)
		s.grams[h/64] |= 1 << (h % 64)
	}
}

func hash(g uint32) uint32 { return g * 0x9e3779b1 >> 16 }

// hit reports whether a line may have an event.
func (s *scanner) hit(text []byte) bool {
	for i := 0; i+gram <= len(text); i += 2 {
		g := binary.LittleEndian.Uint32(text[i:]) | lower
		if h := hash(g); s.grams[h/64]&(1<<(h%64)) != 0 && s.check(text, i, g) {
			return true
		}
	}
	return bytes.IndexByte(text, '\x1b') >= 0 // colours may stand within a literal
}

func (s *scanner) check(text []byte, i int, g uint32) bool {
	for _, literal := range s.at[g] {
		for off := range 2 {
			if from := i - off; from >= 0 && from+len(literal) <= len(text) && same(text[from:from+len(literal)], literal) {
				return true
			}
		}
	}
	return false
}

// same compares a text with a literal in lower case.
func same(text []byte, literal string) bool {
	for i, c := range text {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != literal[i] {
			return false
		}
	}
	return true
}

// has reports whether a message has one of a rule's literals.
func (r *rule) hasOne(folded string) bool {
	return slices.ContainsFunc(r.has, func(h string) bool { return strings.Contains(folded, h) })
}
