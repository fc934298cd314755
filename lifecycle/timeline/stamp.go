package timeline

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// A stamp is a time as a line writes it, and what the line leaves out.
type stamp struct {
	time.Time
	noZone bool // the input's zone applies
	noYear bool // as in syslog
	noDate bool // a time of day
	boot   bool // a time since the machine's boot, as if that was in 1970
	coarse bool // whole seconds
	tai    bool // TAI64N, of which two kinds are written
}

// isoPattern matches what isoStamp reads, but for the zones' names.
const isoPattern = `\d{4}[-/]\d\d[-/]\d\d[T _]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z| ?[+-]\d\d:?\d\d| (?:UTC|GMT|MSK|CES?T|EES?T|WES?T|[ECMP][SD]T|BST|IST|[JK]ST))?`

// parseStamp reads a time: of ISO 8601 and what resembles it, of syslog, of klog,
// of Unix in any unit, of TAI64N, or a time of day.
func parseStamp(s string) (stamp, bool) {
	switch {
	case len(s) >= 19 && (s[4] == '-' || s[4] == '/') && s[13] == ':':
		return isoStamp(s)
	case len(s) == 24 && s[:2] == "40" && !strings.Contains(s, " "):
		return taiStamp(s)
	case len(s) > 4 && strings.Trim(s, "0123456789.e+") == "":
		return unixStamp(s)
	}
	if ago, ok := age(s); ok {
		return stamp{Time: time.Date(0, 1, 2, 0, 0, 0, 0, time.UTC).Add(-ago), noDate: true, noZone: true, coarse: true}, true
	}
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil {
			return partial(t, s, l), true
		}
	}
	return syslogStamp(s)
}

// layouts are tried in turn. Fractions of a second need no mention.
var layouts = []string{
	"15:04:05", "0102 15:04:05", "2 Jan 2006 15:04:05", "2 Jan 15:04:05", "Mon Jan _2 15:04:05 2006", "Mon Jan _2 15:04:05.000000 2006",
	"Jan 2, 2006 3:04:05 PM", "02-Jan-2006 15:04:05", "02/Jan/2006:15:04:05 -0700", "02/Jan/2006:15:04:05", "2006-01-02", "20060102 15:04:05", "060102 15:04:05",
	time.RFC1123Z, time.RFC1123,
}

// age reads how long ago something was, as kubectl writes it.
func age(s string) (time.Duration, bool) {
	days := 0
	if d, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(d)
		if err != nil {
			return 0, false
		}
		days, s = n, rest+"0s"
	}
	ago, err := time.ParseDuration(s)
	return ago + time.Duration(days)*24*time.Hour, err == nil
}

func partial(t time.Time, s, layout string) stamp {
	return stamp{
		Time: t, noZone: !strings.Contains(layout, "-0700") && !strings.Contains(layout, "MST"),
		noDate: layout == "15:04:05", noYear: layout != "15:04:05" && !strings.Contains(layout, "2006"),
		coarse: t.Nanosecond() == 0 && !strings.ContainsAny(s, ".,") || strings.HasPrefix(layout, "Jan 2,"),
	}
}

func isoStamp(s string) (stamp, bool) {
	digits := func(from, to int) int {
		n, err := strconv.ParseUint(s[from:to], 10, 16)
		if err != nil {
			return -1
		}
		return int(n)
	}
	y, mo, d, h, mi, sec := digits(0, 4), digits(5, 7), digits(8, 10), digits(11, 13), digits(14, 16), digits(17, 19)
	if y < 0 || mo < 1 || mo > 12 || d < 1 || d > 31 || h < 0 || h > 24 || mi < 0 || mi > 59 || sec < 0 || sec > 60 {
		return stamp{}, false
	}
	rest, ns := s[19:], 0
	if len(rest) > 1 && (rest[0] == '.' || rest[0] == ',') {
		n := 1
		for unit := 100_000_000; n < len(rest) && rest[n] >= '0' && rest[n] <= '9'; n++ {
			ns += int(rest[n]-'0') * unit
			unit /= 10
		}
		rest = rest[n:]
	}
	st := stamp{coarse: len(s)-len(rest) == 19}
	zone := time.UTC
	switch rest = strings.TrimSpace(rest); {
	case rest == "Z" || rest == "UTC" || rest == "GMT":
	case len(rest) >= 5 && (rest[0] == '+' || rest[0] == '-'):
		hh, err1 := strconv.Atoi(rest[1:3])
		mm, err2 := strconv.Atoi(rest[len(rest)-2:])
		if err1 != nil || err2 != nil || hh > 23 || mm > 59 {
			return stamp{}, false
		}
		seconds := hh*3600 + mm*60
		if rest[0] == '-' {
			seconds = -seconds
		}
		if seconds != 0 {
			zone = time.FixedZone("", seconds)
		}
	default: // none, or a name that means different zones in different countries
		st.noZone = true
	}
	st.Time = time.Date(y, time.Month(mo), d, h, mi, sec, ns, zone)
	return st, st.Year() <= 9999 // 24:00 may carry it further, which JSON cannot write
}

// unixStamp reads a number of seconds, or of milli-, micro- or nanoseconds: the
// unit that puts it between 1973 and 5138. A smaller one counts from the boot.
func unixStamp(s string) (stamp, bool) {
	whole, part, dot := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f < 1e8 || f > 1e19 {
			return stamp{}, false
		}
		whole, n, part = strconv.FormatInt(int64(f), 10), int64(f), ""
	}
	digits := len(whole)
	unit := time.Second
	switch {
	case digits > 17:
		unit = time.Nanosecond
	case digits > 14:
		unit = time.Microsecond
	case digits > 11:
		unit = time.Millisecond
	}
	per := int64(time.Second / unit)
	fraction := 0.0
	if part != "" {
		if fraction, err = strconv.ParseFloat("0."+part, 64); err != nil {
			return stamp{}, false
		}
	}
	t := time.Unix(n/per, n%per*int64(unit)+int64(fraction*float64(unit))).UTC()
	return stamp{Time: t, boot: digits < 9, noZone: digits < 9, coarse: unit == time.Second && !dot}, true
}

// taiStamp reads a label of TAI64N as multilog writes it: seconds of TAI with its
// offset of 10 s of 1970. s6-log adds the leap seconds since, 27 s more, and
// nothing in the label tells the one from the other: see clocks.learn.
func taiStamp(s string) (stamp, bool) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return stamp{}, false
	}
	var seconds, ns int64
	for _, c := range b[:8] {
		seconds = seconds<<8 | int64(c)
	}
	for _, c := range b[8:] {
		ns = ns<<8 | int64(c)
	}
	if seconds -= 1<<62 + 10; seconds < 0 || seconds > 1<<37 || ns < 0 || ns >= 1e9 {
		return stamp{}, false
	}
	return stamp{Time: time.Unix(seconds, ns).UTC(), tai: true}, true
}

// months are the beginnings of their names in the languages that journalctl has
// been seen to write.
var months = []string{
	"jan ene gen 1月", "feb fév fev 2月", "mar mär mrz 3月", "apr avr abr 4月", "may mai mag maj mei 5月", "jun jui giu 6月",
	"jul lug 7月", "aug aoû ago 8月", "sep set 9月", "oct okt ott out 10月", "nov 11月", "dec déc dez dic 12月",
}

// syslogStamp reads "Jan _2 15:04:05", also with the name of the month in another
// language, a year or a fraction.
func syslogStamp(s string) (stamp, bool) {
	f := strings.Fields(s)
	if len(f) == 4 && len(f[2]) == 4 { // with a year
		f = []string{f[0], f[1], f[3], f[2]}
	}
	if len(f) < 3 || len(f) > 4 {
		return stamp{}, false
	}
	name := []rune(strings.TrimSuffix(strings.ToLower(f[0]), "."))
	month := 0
	for i, names := range months {
		for _, n := range strings.Fields(names) {
			if strings.HasPrefix(string(name), n) {
				month = i + 1
			}
		}
	}
	if strings.HasPrefix(string(name), "juil") {
		month = 7
	}
	day, err := strconv.Atoi(f[1])
	clock, err2 := time.Parse("15:04:05", f[2])
	if month == 0 || err != nil || err2 != nil || day < 1 || day > 31 {
		return stamp{}, false
	}
	year, noYear := 0, len(f) == 3
	if !noYear {
		if year, err = strconv.Atoi(f[3]); err != nil || year < 0 || year > 9999 {
			return stamp{}, false
		}
	}
	t := time.Date(year, time.Month(month), day, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), time.UTC)
	return stamp{Time: t, noZone: true, noYear: noYear, coarse: !strings.Contains(f[2], ".")}, true
}
