package timeline

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A line is one of an input, understood as far as that is possible without the
// others.
type line struct {
	in  *input
	n   int
	at  time.Time
	key time.Time // its place among the lines of all inputs
	msg string

	pid, child       int
	who, of, session string
	signal           string // as SIGTERM
	status           string // of an exit: a number, or empty where a signal was the end
	took             time.Duration
	isError          bool
	systemd          bool // what systemd says about a unit
	attrs            map[string]string
}

// Longer values are cut, and further attributes left out.
const (
	longest = 300
	most    = 32
)

// parse understands a line of JSON, of slog or of a journal.
func (in *input) parse(text []byte) (*line, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err == io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("the line is torn")
	} else if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if d.More() {
		return nil, fmt.Errorf("more than one JSON value")
	}
	l := &line{in: in, n: in.lines, attrs: map[string]string{}}
	if stamp, ok := m["__REALTIME_TIMESTAMP"]; ok {
		if sent, ok := m["_SOURCE_REALTIME_TIMESTAMP"]; ok {
			stamp = sent // by its writer, before it was received
		}
		us, err := strconv.ParseInt(fmt.Sprint(stamp), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("__REALTIME_TIMESTAMP: %q is not a number", short(fmt.Sprint(stamp), 40))
		}
		l.at = time.UnixMicro(us).UTC()
		l.journal(m)
	} else if err := l.slog(m); err != nil {
		return nil, err
	}
	l.settle()
	return l, nil
}

// slog reads the record of a slog.JSONHandler.
func (l *line) slog(m map[string]any) (err error) {
	at, ok := m["time"].(string)
	if !ok {
		return fmt.Errorf("no time: neither slog's nor a journal's line")
	}
	if l.at, err = time.Parse(time.RFC3339Nano, at); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	l.msg, _ = m["msg"].(string)
	level, _ := m["level"].(string)
	l.isError = strings.HasPrefix(level, "ERROR")
	delete(m, "time")
	delete(m, "msg")
	flatten("", m, l.attrs)
	return nil
}

// flatten writes groups as prefixes of their members' keys.
func flatten(prefix string, m map[string]any, into map[string]string) {
	keys := slices.Collect(maps.Keys(m))
	if len(keys) > most-len(into) { // which of them are kept must not be chance
		slices.Sort(keys)
	}
	for _, key := range keys {
		switch v := m[key].(type) {
		case map[string]any:
			flatten(prefix+key+".", v, into)
		case nil:
		default:
			if len(into) < most {
				into[prefix+key] = short(fmt.Sprint(v), longest)
			}
		}
	}
}

func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// journal reads an entry of journalctl -o json. A message that is a line of slog
// adds its attributes, and has the better time.
func (l *line) journal(m map[string]any) {
	field := func(keys ...string) (s string) {
		for _, key := range keys {
			s = cmp.Or(s, text(m[key]))
		}
		return s
	}
	l.msg = field("MESSAGE")
	unit := strings.TrimSuffix(field("UNIT", "USER_UNIT"), ".service")
	l.pid, _ = strconv.Atoi(field("_PID"))
	l.who = strings.TrimSuffix(field("_SYSTEMD_USER_UNIT", "_SYSTEMD_UNIT"), ".service")
	if l.systemd = unit != "" && field("SYSLOG_IDENTIFIER", "_COMM") == "systemd"; l.systemd {
		l.who, l.of = "systemd", unit
	}
	l.who = cmp.Or(l.who, field("SYSLOG_IDENTIFIER", "_COMM"))
	priority := field("PRIORITY")
	l.isError = priority != "" && priority <= "3"
	var inner map[string]any
	d := json.NewDecoder(strings.NewReader(l.msg))
	d.UseNumber()
	if strings.HasPrefix(l.msg, "{") && d.Decode(&inner) == nil && !d.More() {
		before := *l
		if l.slog(inner) == nil {
			return
		}
		*l = before
	}
	for _, key := range []string{"UNIT", "USER_UNIT", "EXIT_CODE", "EXIT_STATUS", "JOB_TYPE", "JOB_RESULT", "N_RESTARTS", "UNIT_RESULT"} {
		if v := field(key); v != "" {
			l.attrs[key] = short(v, longest)
		}
	}
}

// text returns a journal's field: a string, bytes that were not UTF-8, or several
// values.
func text(v any) string {
	list, ok := v.([]any)
	if !ok {
		s, _ := v.(string)
		return s
	}
	var b []byte
	for i, v := range list {
		n, isByte := v.(json.Number)
		c, err := strconv.ParseUint(string(n), 10, 8)
		switch {
		case isByte && err == nil:
			b = append(b, byte(c))
		case i > 0:
			b = append(append(b, ' '), text(v)...)
		default:
			b = append(b, text(v)...)
		}
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// settle gives the attributes that count fields of their own.
func (l *line) settle() {
	l.msg = short(strings.TrimSpace(l.msg), longest)
	a := l.attrs
	number := func(key string) int { n, _ := strconv.Atoi(a[key]); return n }
	if pid := number("pid"); pid > 0 {
		l.pid = pid
	}
	l.child = number("child")
	l.who, l.of, l.session = cmp.Or(a["who"], l.who), cmp.Or(a["of"], l.of), a["session"]
	l.signal, l.status = signalOf(a["signal"]), a["status"]
	for _, key := range []string{"took", "ran", "wait"} {
		if ns, err := strconv.ParseInt(a[key], 10, 64); err == nil { // as slog writes durations
			l.took = time.Duration(ns)
			a[key] = human(l.took)
		}
	}
	if !l.systemd {
		return
	}
	if _, status, ok := strings.Cut(l.msg, ", status="); ok && strings.Contains(l.msg, "Main process exited") {
		number, name, _ := strings.Cut(status, "/")
		if strings.Contains(l.msg, "code=exited") {
			l.status = number
		} else {
			l.signal = signalOf("SIG" + name)
		}
	}
}

var signals = map[string]string{
	"hangup": "SIGHUP", "interrupt": "SIGINT", "quit": "SIGQUIT", "aborted": "SIGABRT", "killed": "SIGKILL",
	"terminated": "SIGTERM", "user defined signal 1": "SIGUSR1", "user defined signal 2": "SIGUSR2",
	"broken pipe": "SIGPIPE", "segmentation fault": "SIGSEGV",
}

// signalOf turns the name that Go gives to a signal on Unix into the usual one.
func signalOf(s string) string { return cmp.Or(signals[s], s) }

// human writes a duration for people, with three digits or so.
func human(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

func itoa(n int) string { return strconv.Itoa(n) }
