package timeline

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

// A time of RFC 3339 is read as package time reads it. Any other text is a time
// or none, and JSON can hold it.
func FuzzStamp(f *testing.F) {
	for _, s := range []string{
		"2026-05-20T10:00:05Z", "2026-05-20 10:00:05,123456789 +02:00", "2026/05/20 10:00:05 -0130", "9999-12-31T23:59:59-14:00", "400000006a0d862f05f5e100",
		"1779271205", "1779271205.25", "1779271205123456", "1.779271205e+09", "12345.6", "mai 20 10:00:07", "Jun 1 2026 10:00:00", "20/May/2026:10:00:05 +0200", "0520 10:00:05.1", "2d3h", "10:00:05",
		"9999-12-31T24:00:00", "Jan 1 10:00:00 99999", "Jan 1 -999 10:00:00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		st, ok := parseStamp(s)
		// Package time also takes an hour of one digit, and a zone of 24 hours or 60 minutes.
		want, err := time.Parse(time.RFC3339Nano, s)
		if err == nil && s[13] == ':' && (s[len(s)-1] == 'Z' || s[len(s)-5:] < "24" && s[len(s)-2:] < "60") {
			if !ok || !st.Equal(want) || st.noZone || st.noDate || st.noYear || st.tai {
				t.Fatalf("%q is %+v, %v; package time reads %v", s, st, ok, want)
			}
		}
		if _, err := st.MarshalJSON(); ok && !st.noDate && err != nil { // without a date it has no year yet
			t.Errorf("%q: %v", s, err)
		}
	})
}

// Of a line that the scan finds dull, no rule and no word makes an event.
func FuzzLine(f *testing.F) {
	tables, err := standard()
	if err != nil {
		f.Fatal(err)
	}
	for i, r := range tables.rules {
		if i%8 == 0 {
			f.Add(r.Example)
		}
	}
	for i := 0; i < len(tables.formats); i += 4 {
		f.Add(tables.formats[i].Example)
	}
	f.Add(`{"time":"2026-05-20T10:00:05Z","msg":"stop","g":{"a":[1,null]},"signal":"terminated"}`)
	f.Add(`time=2026-05-20T10:00:05Z msg=cut session=4 error="a \"b\""`)
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || strings.Contains(text, "\n") {
			return
		}
		l, _, err := tables.parse(text)
		if err != nil {
			return
		}
		if tables.classify(l); l.kind != nothing && !tables.scan.hit([]byte(text)) {
			t.Errorf("%q is an event of kind %s, by rule %q", text, l.kind, l.ruleName())
		}
		if len(l.attrs) > most+8 || len(l.msg) > 4*longest+len("…") {
			t.Errorf("%d attributes, a message of %d bytes", len(l.attrs), len(l.msg))
		}
	})
}

// LoadTables takes tables that read logs, or returns one error. What it has taken, it
// takes again.
func FuzzLoadTables(f *testing.F) {
	const rule = `{"rules":[{"name":"x","has":"going down","match":"^going down: (?P<why>.*)","kind":"stop","example":"2026-05-20T22:55:01Z going down: deploy","gives":"why=deploy"}]}`
	f.Add(rule)
	f.Add(`{"formats":[{"name":"ours","match":"@{iso}@ (?P<msg>.*)","example":"@2026-05-20T22:55:01Z@ hello"}]}`)
	f.Add(`{"formats":[{"name":"x","match":"(?P<nothing>.)","example":"x"}]}`)
	f.Add(`{"rules":[{"name":"x","has":"abc"}]}`)
	f.Add(`{"formats":[{}]}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		own, err := LoadTables(strings.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "timeline: ") {
				t.Error(err)
			}
			return
		}
		if len(own.formats)+len(own.rules) == 0 {
			return
		}
		b, err := json.Marshal(map[string]any{"formats": own.formats, "rules": own.rules})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := LoadTables(bytes.NewReader(b)); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		log := "2026-05-20T22:55:01Z going down: deploy\n"
		for _, r := range own.rules {
			log += r.Example + "\n"
		}
		tl, err := Options{Tables: own}.Read(Input{"log", strings.NewReader(log)})
		if err != nil {
			t.Fatal(err)
		}
		if err := tl.WriteJSON(io.Discard); err != nil {
			t.Fatal(err)
		}
	})
}
