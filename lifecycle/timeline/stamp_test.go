package timeline

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A time is read to the end: its zone, its unit, and whether it has a date and a
// fraction. What cannot be a time is none.
func TestStamps(t *testing.T) {
	for s, want := range map[string]string{
		"2026-05-20T10:00:05-01:30": "2026-05-20T11:30:05Z coarse",
		"2026-05-20T10:00:05+24:00": "none",
		"2026-05-20T10:00:05+02:60": "none",
		"2026-06-30T23:59:60Z":      "2026-07-01T00:00:00Z coarse", // a leap second
		"2026-06-30T23:59:61Z":      "none",
		"123456789":                 "1973-11-29T21:33:09Z coarse",
		"12345.5":                   "1970-01-01T03:25:45.5Z since the boot",
		"1779271205":                "2026-05-20T10:00:05Z coarse",
		"1779271205.25":             "2026-05-20T10:00:05.25Z",
		"177927120512":              "1975-08-22T08:12:00.512Z",
		"177927120512345":           "1975-08-22T08:12:00.512345Z",
		"177927120512345678":        "1975-08-22T08:12:00.512345678Z",
		"400000006a0d862f05f5e100":  "2026-05-20T10:00:05.1Z TAI",
		"juil. 4 2026 10:00:05":     "2026-07-04T10:00:05Z coarse",
		"juin 4 2026 10:00:05":      "2026-06-04T10:00:05Z coarse",
		"4 July":                    "none",
	} {
		got := "none"
		if st, ok := parseStamp(s); ok {
			got = st.UTC().Format(time.RFC3339Nano)
			for name, flag := range map[string]bool{" coarse": st.coarse, " TAI": st.tai, " no date": st.noDate, " since the boot": st.boot} {
				if flag {
					got += name
				}
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

// A time of day that goes back a little is of the same day. One that goes back by more
// than half a day is of the next, at each midnight. A date without a year is not later
// than it can be.
func TestResolve(t *testing.T) {
	c := clock{day: time.Date(2026, 5, 20, 0, 0, 0, 0, time.UTC), latest: time.Date(2026, 5, 22, 0, 0, 0, 0, time.UTC)}
	for _, tt := range [][2]string{
		{"10:00:05", "20 10:00:05"}, {"10:00:04", "20 10:00:04"}, {"23:59:59", "20 23:59:59"}, {"00:00:01", "21 00:00:01"}, {"00:00:00", "21 00:00:00"},
		{"23:59:59", "21 23:59:59"}, {"00:00:01", "22 00:00:01"},
	} {
		st, ok := parseStamp(tt[0])
		if got := c.resolve(st).Format("02 15:04:05"); !ok || got != tt[1] {
			t.Errorf("%s is %s, want %s", tt[0], got, tt[1])
		}
	}
	for s, want := range map[string]int{"Jan  1 10:00:05": 2026, "Dec 31 10:00:05": 2025} {
		if st, ok := parseStamp(s); !ok || c.resolve(st).Year() != want {
			t.Errorf("%s is of %v, want %d", s, c.resolve(st), want)
		}
	}
}

// Durations and long values are written for people.
func TestHuman(t *testing.T) {
	for d, want := range map[time.Duration]string{
		999 * time.Microsecond: "999 µs", time.Millisecond: "1 ms", time.Second: "1.0 s", 10 * time.Second: "10 s", 59 * time.Second: "59 s",
		time.Minute: "1 min 0 s", 59*time.Minute + 59*time.Second: "59 min 59 s", time.Hour: "1 h 0 min",
	} {
		if got := human(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
	for s, want := range map[string]string{"abc": "abc", "abcd": "abc…", "abé": "ab…"} {
		if got := short(s, 3); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

// A level is read in each logger's way: by its name, by a journal's priority, or by
// pino's number.
func TestSeverity(t *testing.T) {
	for level, want := range map[string]int{
		"": 0, "TRACE": 1, "Debug": 2, "info": 3, "notice": 3, "WARNING": 4, "E": 5, "fatal": 5, "10": 1, "20": 2, "30": 3, "50": 5, "60": 5, "5": 0, "x": 0,
		"priority -1": 5, "priority 0": 5, "priority 3": 5, "priority 4": 4, "priority 5": 3, "priority 6": 3, "priority 7": 2, "priority 99": 2,
	} {
		if got := (&line{level: level}).severity(); got != want {
			t.Errorf("%q: %d, want %d", level, got, want)
		}
	}
}

// However often it is read, a line that fits two zones equally well is in the lesser.
func TestTie(t *testing.T) {
	const said = `{"time":"2026-05-20T%s:00:05Z","level":"INFO","msg":"cache is warm now"}` + "\n"
	for range 30 {
		tl := Read(Input{"a", strings.NewReader("2026-05-20 12:00:05,100 INFO app.main: cache is warm now\n2026-05-20 12:00:06,100 INFO app.main: Received SIGTERM\n")},
			Input{"b", strings.NewReader(fmt.Sprintf(said, "10") + fmt.Sprintf(said, "11"))})
		if at := tl.chains[0].Events[0].Time.UTC(); at.Hour() != 11 {
			t.Fatal(at)
		}
	}
}
