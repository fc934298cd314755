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
)

// The keys under which loggers write what every line has: slog, zap, zerolog,
// logrus, pino, bunyan, tracing, ECS, Caddy, Prometheus, structlog, Kubernetes
// events, docker's json-file. The first that is there counts.
var (
	timeKeys   = []string{"time", "ts", "timestamp", "@timestamp", "t", "T", "asctime", "datetime", "date", "lastTimestamp", "eventTime", "metadata.creationTimestamp", "@t"}
	msgKeys    = []string{"msg", "message", "fields.message", "log", "event", "short_message", "text", "M", "@m", "body"}
	levelKeys  = []string{"level", "lvl", "severity", "levelname", "log.level", "L", "@l", "level_name", "type"}
	pidKeys    = []string{"pid", "process.pid", "process_id", "processId"}
	whoKeys    = []string{"who", "service", "service.name", "name", "app", "program", "appname", "kubernetes.container_name", "container_name"}
	signalKeys = []string{"signal", "sig", "fields.signal"}
)

// pick returns the value of the first of the keys that is there, and takes it out.
func pick(attrs map[string]string, keys []string) string {
	for _, key := range keys {
		if v, ok := attrs[key]; ok {
			delete(attrs, key)
			return v
		}
	}
	return ""
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

// json reads an object: a journal's entry, or a record of a logger. It returns a
// message that may be a line of another format. It changes nothing if it fails.
func (l *line) json(m map[string]any) (rest string, err error) {
	if m["__REALTIME_TIMESTAMP"] != nil {
		return l.journal(m)
	}
	in := &line{attrs: map[string]string{}}
	flatten("", m, in.attrs)
	if in.attrs["involvedObject.name"] != "" {
		in.kubernetes()
	}
	in.fields()
	if in.stamped == "" && in.msg == "" {
		return "", errors.New("no time and no message")
	}
	if l.attrs == nil {
		l.attrs = map[string]string{}
	}
	maps.Copy(l.attrs, in.attrs)
	l.adopt(in, &jsonFormat)
	l.session, l.signal = in.session, in.signal
	if _, docker := m["log"].(string); docker {
		return strings.TrimSuffix(in.msg, "\n"), nil
	}
	if strings.HasPrefix(in.msg, "{") {
		return in.msg, nil
	}
	return "", nil
}

var (
	jsonFormat    = format{Name: "JSON"}
	journalFormat = format{Name: "journal"}
	logfmtFormat  = format{Name: "logfmt"}
)

// fields takes what every line has out of the attributes.
func (l *line) fields() {
	a := l.attrs
	if v := pick(a, timeKeys); v != "" {
		if st, ok := parseStamp(v); ok {
			l.stamped, l.stamp = v, st
		}
	}
	l.level = pick(a, levelKeys)
	l.msg = pick(a, msgKeys)
	if l.level == "" && a["error"] != "" && l.msg == "" {
		l.msg = a["error"]
	}
	if v := pick(a, pidKeys); v != "" {
		l.pid, _ = strconv.Atoi(v)
		if l.pid > 0 {
			a["pid"] = v
		}
	}
	for _, key := range whoKeys {
		if who := a[key]; who != "" && (key != "name" || a["hostname"] != "") { // bunyan, pino
			l.who = who
			break
		}
	}
	if a["error"] == "" {
		if err := cmp.Or(a["err"], a["err.message"], a["exception"], a["error.message"]); err != "" {
			a["error"] = err
		}
	}
	l.box = cmp.Or(a["kubernetes.pod_name"], a["container_id"])
}

// kubernetes reads an event of the API.
func (l *line) kubernetes() {
	a := l.attrs
	l.reason = a["reason"]
	l.of = strings.ToLower(a["involvedObject.kind"]) + "/" + a["involvedObject.name"]
	if c := a["involvedObject.fieldPath"]; c != "" {
		a["container"] = strings.TrimSuffix(strings.TrimPrefix(c, "spec.containers{"), "}")
	}
	l.who = "kubelet"
	l.program = "kubelet"
	for key := range a {
		if strings.HasPrefix(key, "metadata.") && key != "metadata.creationTimestamp" || strings.HasPrefix(key, "involvedObject.") {
			delete(a, key)
		}
	}
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

// journal reads an entry of journalctl -o json. Its message may be a line of any
// format, which has the better time.
func (l *line) journal(m map[string]any) (rest string, err error) {
	field := func(keys ...string) (s string) {
		for _, key := range keys {
			s = cmp.Or(s, text(m[key]))
		}
		return s
	}
	us := field("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP") // first its writer's, before it was received
	st, ok := unixStamp(us)
	if !ok {
		return "", fmt.Errorf("__REALTIME_TIMESTAMP: %q is not a number", short(us, 40))
	}
	in := &line{stamped: us, stamp: st, msg: field("MESSAGE"), host: field("_HOSTNAME")}
	in.pid, _ = strconv.Atoi(cmp.Or(field("_PID"), field("SYSLOG_PID")))
	program, unit := field("SYSLOG_IDENTIFIER", "_COMM"), field("UNIT", "USER_UNIT")
	in.who = cmp.Or(unitName(field("_SYSTEMD_USER_UNIT", "_SYSTEMD_UNIT")), program)
	if strings.HasPrefix(in.who, "docker-") || strings.HasPrefix(in.who, "session-") || field("CONTAINER_NAME") != "" {
		in.who = cmp.Or(field("CONTAINER_NAME"), program)
	}
	if field("_TRANSPORT") == "kernel" {
		in.who = "kernel"
	}
	if l.attrs == nil {
		l.attrs = map[string]string{}
	}
	if priority := field("PRIORITY"); priority != "" {
		in.level = "priority " + priority
	}
	if program == "systemd" {
		in.who = program
		if unit != "" {
			in.of, l.attrs["UNIT"] = unit, unit
		}
	}
	in.program = program
	l.adopt(in, &journalFormat)
	l.program = program
	return in.msg, nil
}

// unitName is what a service is called by people.
func unitName(unit string) string { return strings.TrimSuffix(unit, ".service") }

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

// logfmt reads key=value pairs, if the line is made of them and has a time or a
// message. What stands before the first key of another format's rest is ignored.
func (l *line) logfmt(s string) bool {
	in := &line{attrs: map[string]string{}}
	for pairs := 0; s != ""; pairs++ {
		key, rest, ok := strings.Cut(s, "=")
		if !ok || key == "" || strings.ContainsAny(key, " \"{[(") {
			if pairs == 0 || in.attrs["msg"] == "" {
				return false
			}
			// An unquoted message of several words, as slog's copies write it.
			word, more, _ := strings.Cut(s, " ")
			in.attrs["msg"] += " " + word
			s = strings.TrimLeft(more, " ")
			continue
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return false
			}
			value, _ = strconv.Unquote(quoted)
			rest = rest[len(quoted):]
		} else {
			value, rest, _ = strings.Cut(rest, " ")
		}
		if len(in.attrs) < most {
			in.attrs[key] = short(value, longest)
		}
		s = strings.TrimLeft(rest, " ")
	}
	if in.fields(); in.msg == "" || in.stamped == "" && l.stamped == "" {
		return false
	}
	if l.attrs == nil {
		l.attrs = map[string]string{}
	}
	maps.Copy(l.attrs, in.attrs)
	l.adopt(in, &logfmtFormat)
	return true
}
