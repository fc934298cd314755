package timeline

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
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
	most    = 256
	shown   = 32 // kept with an event
)

// parse understands a line of JSON, of slog or of a journal.
func (in *input) parse(text []byte) (*line, error) {
	m, err := object(text)
	if err != nil {
		return nil, err
	}
	l := &line{in: in, n: in.lines, attrs: map[string]string{}}
	if m["__REALTIME_TIMESTAMP"] != nil {
		err = l.journal(m)
	} else {
		err = l.slog(m)
	}
	if err != nil {
		return nil, err
	}
	l.settle()
	return l, nil
}

func object(text []byte) (m map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	switch err := d.Decode(&m); {
	case err == io.ErrUnexpectedEOF:
		return nil, errors.New("the line is torn")
	case err != nil:
		return nil, fmt.Errorf("not JSON: %w", err)
	case d.More():
		return nil, errors.New("more than one JSON value")
	}
	return m, nil
}

// slog reads the record of a slog.JSONHandler. It changes nothing where it fails.
func (l *line) slog(m map[string]any) error {
	stamp, ok := m["time"].(string)
	if !ok {
		return errors.New("no time: neither slog's nor a journal's line")
	}
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return fmt.Errorf("time: %w", err)
	}
	l.at = at
	l.msg, _ = m["msg"].(string)
	level, _ := m["level"].(string)
	l.isError = strings.HasPrefix(level, "ERROR")
	delete(m, "time")
	delete(m, "level")
	delete(m, "msg")
	flatten("", m, l.attrs)
	return nil
}

// flatten writes groups as prefixes of their members' keys.
func flatten(prefix string, m map[string]any, into map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(m)) { // which of them are kept must not be chance
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

// list returns the attributes, sorted.
func (l *line) list() (list []string) {
	for key, value := range l.attrs {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	return slices.Clone(list[:min(len(list), shown)])
}

// journal reads an entry of journalctl -o json. A message that is a line of slog
// adds its attributes, and has the better time.
func (l *line) journal(m map[string]any) error {
	field := func(keys ...string) (s string) {
		for _, key := range keys {
			s = cmp.Or(s, text(m[key]))
		}
		return s
	}
	stamp := field("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP") // first its writer's, before it was received
	us, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("__REALTIME_TIMESTAMP: %q is not a number", short(stamp, 40))
	}
	l.at, l.msg = time.UnixMicro(us).UTC(), field("MESSAGE")
	l.pid, _ = strconv.Atoi(field("_PID"))
	program, unit := field("SYSLOG_IDENTIFIER", "_COMM"), field("UNIT", "USER_UNIT")
	l.who = cmp.Or(strings.TrimSuffix(field("_SYSTEMD_USER_UNIT", "_SYSTEMD_UNIT"), ".service"), program)
	priority := field("PRIORITY")
	l.isError = priority != "" && priority <= "3"
	if l.systemd = unit != "" && program == "systemd"; l.systemd {
		l.who, l.of, l.attrs["UNIT"] = program, strings.TrimSuffix(unit, ".service"), unit
	}
	if inner, err := object([]byte(l.msg)); err == nil {
		l.slog(inner) // or it is not slog's, and stays as it is
	}
	return nil
}

// text returns a journal's field: a string, bytes that were not UTF-8, or several
// values.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		c, _ := strconv.ParseUint(string(v), 10, 8)
		return string([]byte{byte(c)})
	case []any:
		var parts []string
		sep := ""
		for _, part := range v {
			if _, isByte := part.(json.Number); !isByte {
				sep = " "
			}
			parts = append(parts, text(part))
		}
		return strings.ToValidUTF8(strings.Join(parts, sep), "\uFFFD")
	}
	return ""
}

// settle gives the attributes that count fields of their own.
func (l *line) settle() {
	l.msg = short(strings.TrimSpace(l.msg), longest)
	a := l.attrs
	if pid, _ := strconv.Atoi(a["pid"]); pid > 0 {
		l.pid = pid
	}
	l.child, _ = strconv.Atoi(a["child"])
	l.who, l.of, l.session = cmp.Or(a["who"], l.who), cmp.Or(a["of"], l.of), a["session"]
	l.signal, l.status = cmp.Or(signals[a["signal"]], a["signal"]), a["status"]
	for _, key := range []string{"took", "ran", "wait"} {
		if ns, err := strconv.ParseInt(a[key], 10, 64); err == nil { // as slog writes durations
			l.took = time.Duration(ns)
			a[key] = human(l.took)
		}
	}
	if exit, status, ok := strings.Cut(l.msg, ", status="); ok && l.systemd && strings.Contains(exit, "Main process exited") {
		number, name, _ := strings.Cut(status, "/")
		if strings.HasSuffix(exit, "code=exited") {
			l.status = number
		} else {
			l.signal = "SIG" + name
		}
	}
}

// signals has the usual names for those that Go gives on Unix.
var signals = map[string]string{
	"hangup": "SIGHUP", "interrupt": "SIGINT", "quit": "SIGQUIT", "aborted": "SIGABRT", "killed": "SIGKILL",
	"terminated": "SIGTERM", "user defined signal 1": "SIGUSR1", "user defined signal 2": "SIGUSR2",
	"broken pipe": "SIGPIPE", "segmentation fault": "SIGSEGV",
}

func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

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
