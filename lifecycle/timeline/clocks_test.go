package timeline

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A clock without a zone takes the one that other lines show; the user's word
// counts more; a guess is said. TAI64N is read as the tool has written it.
func TestClocks(t *testing.T) {
	const (
		local = "2026-05-20 12:00:05,100 INFO app.main: Received SIGTERM, draining 17 sessions\n"
		zoned = `{"time":"2026-05-20T10:00:05.1Z","level":"INFO","msg":"Received SIGTERM, draining 17 sessions","pid":7}` + "\n"
		other = `{"time":"2026-05-20T09:00:00Z","level":"INFO","msg":"up","pid":7}` + "\n"
	)
	for _, tt := range []struct {
		name   string
		zone   *time.Location
		inputs []string
		want   string // the first event's time in UTC
		said   string
	}{
		{"the same message", nil, []string{local, zoned}, "10:00:05.1", ""},
		{"two times in a line", nil, []string{"2026-05-20T10:00:05.100000000Z " + local}, "10:00:05.1", ""},
		{"two times in a line, the better one", nil, []string{"2026-05-20T10:00:05.700000000Z " + local}, "10:00:05.7", ""},
		{"two times in a line, the first without a zone", nil, []string{"2026-05-20 12:00:05.100 {\"time\":\"2026-05-20T10:00:05.1Z\",\"msg\":\"cache is warm now\"}\n" + local}, "10:00:05.1", ""},
		{"redis, by its signal handler", nil, []string{"7:M 20 May 2026 15:30:05.000 * Ready\n7:signal-handler (1779271205) Received SIGTERM scheduling shutdown...\n7:M 20 May 2026 15:30:06.000 # User requested shutdown...\n7:M 20 May 2026 15:30:07.000 # Redis is now ready to exit, bye bye...\n"}, "10:00:05", ""},
		{"by flag", time.FixedZone("", 7200), []string{local, other}, "10:00:05.1", ""},
		{"a guess", nil, []string{local, other}, "12:00:05.1", "taken as UTC"},
		{"nothing to compare with", nil, []string{local}, "12:00:05.1", ""},
		{"no clock", nil, []string{"INFO:     Shutting down\n"}, "00:00:00", ""},
		{"months of another language", nil, []string{zoned, "mai 20 10:00:07 host app[9]: Received SIGTERM\n"}, "10:00:05.1", "taken as UTC"},
		{"multilog's", nil, []string{"@400000006a0d862f05f5e100 Received SIGTERM, draining 17 sessions\n", zoned}, "10:00:05.1", ""},
		{"a guess, like the zone of others", nil, []string{local, `{"time":"2026-05-20T11:00:00+02:00","level":"INFO","msg":"up","pid":7}` + "\n"}, "10:00:05.1", "taken as UTC+02:00"},
		{"the same message, minutes apart", nil, []string{"2026-05-20 12:07:00,100 INFO app.main: cache is warm now\n" + local, `{"time":"2026-05-20T10:00:05.1Z","level":"INFO","msg":"cache is warm now"}` + "\n"}, "12:00:05.1", "taken as UTC"},
		{"two times in a line, days apart", nil, []string{"2026-05-18T10:00:00.100000000Z 2026-05-20 12:00:00,100 INFO app.main: cache is warm now\n" + local}, "12:00:05.1", "taken as UTC"},
		{"times of day", nil, []string{"09:00:05 web | cache is warm now\n10:00:05 web | Received SIGTERM\n23:00:05 web | cache is warm now\n"}, "10:00:05", ""},
		{"TAI64N with nothing to compare with", nil, []string{"@400000006a0d862f05f5e100 Received SIGTERM, draining 17 sessions\n"}, "10:00:05.1", ""},
		{"s6-log's", nil, []string{"@400000006a0d864a05f5e100 Received SIGTERM, draining 17 sessions\n", zoned}, "10:00:05.1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var inputs []Input
			for i, log := range tt.inputs {
				inputs = append(inputs, lines(string(rune('a'+i)), log))
			}
			tl, err := Options{Zone: tt.zone}.Read(inputs...)
			if err != nil || len(tl.chains) == 0 {
				t.Fatal(err, tl)
			}
			for _, c := range tl.chains {
				got := c.Events[0].Time.UTC().Format("15:04:05.999")
				if got != tt.want && got != "10:00:07" {
					t.Errorf("%s, want %s\n%s", got, tt.want, written(t, tl))
				}
			}
			if said := strings.Contains(written(t, tl), "without a zone"); said != (tt.said != "") {
				t.Errorf("said: %v\n%s", said, written(t, tl))
			}
		})
	}
}

// What was lost is found by the name of the library that says so; a connection
// that is there again has two causes: that it was lost, and that its server is back.
func TestTwoCauses(t *testing.T) {
	tl := read(t, "recorded/celery*.log")
	got := written(t, tl)
	for _, want := range []string{"what it depends on was stopping, by its name", "the connection had been lost; and ", "what it depends on is back, by its name"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// An input may be compressed; colours, a byte order mark and JSON over many lines
// do not matter.
func TestWrapped(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte("2026-05-20 12:00:05,100 INFO app.main: Received SIGTERM\n"))
	z.Close()
	for name, log := range map[string]string{
		"gzip":           packed.String(),
		"BOM":            "\xef\xbb\xbf" + "2026-05-20 12:00:05,100 INFO app.main: Received SIGTERM\r\n",
		"colours":        "\x1b[2m2026-05-20T12:00:05Z\x1b[0m \x1b[32mINFO\x1b[0m Recei\x1b[1mved SIG\x1b[0mTERM\n",
		"JSON":           "{\n  \"time\": \"2026-05-20T12:00:05Z\",\n  \"msg\": \"Received SIGTERM\"\n}\n",
		"events":         "{\n\"items\": [\n{\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"web\"},\"lastTimestamp\":\"2024-05-01T10:00:05Z\",\"message\":\"Stopping container app\",\"reason\":\"Killing\"}\n]\n}\n",
		"slog's default": `2026/05/20 12:00:05 WARN restart wait error="dial tcp 127.0.0.1:25082: connect: connection refused" ran=0.000147s backoff=2 wait=0.017766s` + "\n",
		"zerolog":        `{"level":"info","time":1779278405,"message":"received signal","signal":"terminated"}` + "\n",
		"docker":         `{"log":"Received SIGTERM\n","stream":"stderr","time":"2026-05-20T12:00:05.1Z"}` + "\n",
	} {
		if tl := Read(lines(name, log)); len(tl.chains) != 1 || len(tl.Unread) > 0 || tl.chains[0].costly() {
			t.Errorf("%s: %v\n%s", name, tl.Unread, written(t, tl))
		}
	}
}

// What is no text is refused as a whole. Zeros, as truncating an open log leaves them,
// are no reason, nor are letters of another encoding.
func TestBinary(t *testing.T) {
	packed := make([]byte, 5000)
	for i := range packed {
		packed[i] = byte(i * i >> 3)
	}
	if tl := Read(lines("log.xz", string(packed))); len(tl.Unread) != 1 || !strings.Contains(tl.Unread[0].Error(), "log.xz: this is not text") || tl.lines > 0 {
		t.Errorf("%d lines, unread %v", tl.lines, tl.Unread)
	}
	if tl := Read(lines("log", strings.Repeat("\x00", 9000)+strings.Repeat("2026-05-20 12:00:05,100 INFO app.main: Received SIGTERM, f\xfcr immer\n", 3))); len(tl.chains) != 1 || len(tl.Unread) > 0 {
		t.Errorf("unread %v\n%s", tl.Unread, written(t, tl))
	}
}

// If no line tells of a stop, the timeline says what it has read, and what would help.
func TestNothing(t *testing.T) {
	tl := Read(lines("log", strings.Repeat("2026-05-20T22:55:01Z INFO request exited loop\n", 2000)))
	got := written(t, tl)
	for _, want := range []string{"2000 lines read, none about a stop", "2000 are a time, then a level", "request exited loop", `{"rules": [`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// A trace for Perfetto, and JSON, have an arrow for each link.
func TestTrace(t *testing.T) {
	tl := read(t, "incident/*.jsonl")
	var trace, object bytes.Buffer
	if err := tl.WritePerfetto(&trace); err != nil {
		t.Fatal(err)
	}
	if err := tl.WriteJSON(&object); err != nil {
		t.Fatal(err)
	}
	if a, b := strings.Count(trace.String(), `"ph":"s"`), strings.Count(object.String(), `"by": "`); a != 11 || b != 11 || strings.Count(object.String(), `"by": "time"`) != 1 {
		t.Errorf("%d arrows, %d links", a, b)
	}
	if _, err := LoadTables(strings.NewReader(`{"rules":[{"name":"x","has":"abc","match":"x","kind":"stop","example":"x"}]}`)); err == nil || !strings.Contains(err.Error(), "five letters") {
		t.Errorf("a literal of three bytes: %v", err)
	}
	if _, err := os.Stat("testdata/recorded"); err != nil {
		t.Fatal(err)
	}
}

// What is logged twice is one event: in two inputs, or once with a clock and a
// writer and once without.
func TestCopies(t *testing.T) {
	const exited = "worker process 8 exited on signal 9\n"
	tl := Read(lines("error.log", "2026/05/20 10:00:05 [alert] 7#7: "+exited), lines("syslog", "2026-05-20T10:00:05.2Z host nginx[7]: "+exited))
	if len(tl.chains) != 1 || len(tl.chains[0].Events) != 1 {
		t.Errorf("two inputs:\n%s", written(t, tl))
	}
	const down = `Server b/s1 is DOWN, reason: Layer4 timeout, check duration: 0ms.` + "\n"
	if tl := Read(lines("haproxy", "[WARNING]  (15087) : "+down+down)); len(tl.chains) != 1 || len(tl.chains[0].Events) != 1 {
		t.Errorf("without a clock:\n%s", written(t, tl))
	}
}

// A date without a year is not later than half a year after the latest that has one,
// and the days of an input without dates begin with the day of the others.
func TestDates(t *testing.T) {
	zoned := lines("a", `{"time":"2020-05-20T10:00:05.1Z","level":"INFO","msg":"up","pid":7}`+"\n")
	for log, want := range map[string]string{
		"Dec 20 10:00:07 host app[9]: Received SIGTERM\n":                                   "2019-12-20",
		"Oct 20 10:00:07 host app[9]: Received SIGTERM\n":                                   "2020-10-20",
		"09:00:05 web | cache is warm\n10:00:05 web | Received SIGTERM\n23:00:05 web | x\n": "2020-05-20",
		"23:59:05 web | cache is warm\n00:00:05 web | Received SIGTERM\n":                   "2020-05-21",
	} {
		zoned.Reader = strings.NewReader(`{"time":"2020-05-20T10:00:05.1Z","level":"INFO","msg":"up","pid":7}` + "\n")
		tl := Read(zoned, lines("b", log))
		if len(tl.chains) != 1 || tl.chains[0].Events[0].Time.Format("2006-01-02") != want {
			t.Errorf("%s is not of %s\n%s", log, want, written(t, tl))
		}
	}
}

// A line may be wrapped three times. A debug line with a signal is no event. A
// compressed input that breaks off is named, and what came before counts.
func TestWrappedMore(t *testing.T) {
	const stop = `{"__REALTIME_TIMESTAMP":"1779271205000000","_PID":"7","MESSAGE":"{\"log\":\"{\\\"time\\\":\\\"2026-05-20T10:00:05Z\\\",\\\"msg\\\":\\\"stop\\\",\\\"signal\\\":\\\"terminated\\\"}\\n\",\"time\":\"2026-05-20T10:00:05Z\"}"}` + "\n"
	if tl := Read(lines("journal", stop)); len(tl.chains) != 1 || tl.chains[0].Events[0].Text != "received SIGTERM" {
		t.Errorf("%v\n%s", tl.Unread, written(t, tl))
	}
	for level, want := range map[string]int{"DEBUG": 0, "INFO": 1} {
		tl := Read(lines("log", `{"time":"2026-05-20T10:00:05Z","level":"`+level+`","msg":"got it","pid":7,"signal":"terminated"}`+"\n"))
		if len(tl.chains) != want {
			t.Errorf("%s:\n%s", level, written(t, tl))
		}
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte("2026-05-20 12:00:05,100 INFO app.main: Received SIGTERM\n"))
	z.Flush()
	tl := Read(Input{Name: "a.gz", Reader: &packed})
	if len(tl.chains) != 1 || len(tl.Unread) != 1 || !strings.Contains(tl.Unread[0].Error(), "a.gz: unexpected EOF") {
		t.Errorf("%v\n%s", tl.Unread, written(t, tl))
	}
}

// A line that never ends costs no memory.
func TestEndless(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tl := Read(Input{Name: "a", Reader: io.LimitReader(zeros{}, 64<<20)})
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 32 || len(tl.Unread) != 1 {
		t.Errorf("%d MB, unread %v", n, tl.Unread)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
