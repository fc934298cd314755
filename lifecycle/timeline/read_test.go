package timeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/evenkeel-go/evenkeel/restart"
)

// What cannot be read and might tell of a stop is named, and the rest is read: a
// line that a dying process tore and the next one wrote on, one that is too long, zeros from a lost disk
// block, an input that breaks off.
func TestUnread(t *testing.T) {
	const good = `{"time":"2026-05-20T10:00:00Z","msg":"stop","pid":4,"signal":"terminated"}`
	var in strings.Builder
	for _, line := range []string{
		good,                              // 1
		`{"time":"2026-05-20T10:00:01Z",`, // 2
		`{"time":"2026-05-20T10:0` + `{"time":"2026-05-20T10:00:02Z","msg":"exited","status":0,"pid":4}`, // 3: its second half counts
		"",
		`Starting nginx`,                  // 5
		`{"msg":"no time"}`,               // 6
		`{"time":"yesterday"}`,            // 7
		`{"__REALTIME_TIMESTAMP":"soon"}`, // 8
		`{"a":"` + strings.Repeat("x", 1<<20) + `"`, // 9
		strings.Repeat("\x00", 100),                 // 10
		"panic: boom",                               // 11: of pid 4
		"", "goroutine 1 [running]:", "main.main()", // its trace
		good + " x", // 15
	} {
		in.WriteString(line + "\n")
	}
	broken := io.MultiReader(strings.NewReader(in.String()), iotest.ErrReader(errors.New("disk gone")))
	tl := Read(Input{Name: "a.jsonl", Reader: broken})
	var got []string
	for _, u := range tl.Unread {
		got = append(got, u.Error())
	}
	want := []string{
		"a.jsonl:3: not JSON: invalid character 't' after object key:value pair", "a.jsonl:9: longer than 1048576 bytes",
		"a.jsonl:15: more than one JSON value", "a.jsonl: disk gone",
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("unread\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if tl.lines != 9 || len(tl.chains) != 1 || len(tl.chains[0].Events) != 3 {
		t.Errorf("%d lines\n%s", tl.lines, written(t, tl))
	}
	many := Read(lines("b", strings.Repeat(good+" x\n", 1000)))
	if n := len(many.Unread); n != 101 || many.Unread[100].Error() != "and 900 lines more" {
		t.Errorf("%d unread: %v", n, many.Unread[n-1])
	}
}

// However lines are spread over inputs, and within one swapped between processes,
// the timeline is the same; lines of one process keep their order, whatever their
// clock says.
func TestMerge(t *testing.T) {
	b, err := os.ReadFile("testdata/after.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	want := written(t, Read(lines("one", string(b))))
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		files := make([]strings.Builder, 5)
		for _, l := range all {
			_, pid, _ := strings.Cut(l, `"pid":`)
			fmt.Fprintln(&files[int(pid[3]+pid[2])%len(files)], l)
		}
		var inputs []Input
		for i := range files {
			inputs = append(inputs, lines(fmt.Sprint(i), files[i].String()))
		}
		r.Shuffle(len(inputs), func(i, j int) { inputs[i], inputs[j] = inputs[j], inputs[i] })
		if got := written(t, Read(inputs...)); got != want {
			t.Fatalf("seed %d: over inputs\n%s\nwant\n%s", seed, got, want)
		}
		mixed := slices.Clone(all)
		for range 20 * len(mixed) { // swap neighbours of different processes
			i := r.IntN(len(mixed) - 1)
			_, p, _ := strings.Cut(mixed[i], `"pid":`)
			_, q, _ := strings.Cut(mixed[i+1], `"pid":`)
			if p[:5] != q[:5] {
				mixed[i], mixed[i+1] = mixed[i+1], mixed[i]
			}
		}
		if got := written(t, Read(lines("one", strings.Join(mixed, "\n")))); got != want {
			t.Fatalf("seed %d: mixed\n%s\nwant\n%s", seed, got, want)
		}
	}
	tl := Read(lines("log", `
{"time":"2026-05-20T10:00:05Z","msg":"stop","pid":4,"signal":"terminated"}
{"time":"2026-05-20T10:00:03Z","msg":"drain began","pid":4}
`), lines("other", `{"time":"2026-05-20T10:00:04Z","msg":"stop","pid":5,"signal":"terminated"}`))
	if len(tl.chains) != 2 || tl.chains[0].Events[0].Process.PID != 5 || len(tl.chains[1].Events) != 2 {
		t.Errorf("a clock that was set back:\n%s", written(t, tl))
	}
}

// A journal has messages that are text, bytes, several values or none, and slog's
// lines within; systemd's lines are about a unit, whatever wrote it.
func TestJournal(t *testing.T) {
	message := fmt.Sprint([]byte(`{"time":"2026-05-20T10:00:05.5Z","msg":"task failed","g":{"a":1,"b":{"c":true}},"error":"é"}`))
	tl := Read(lines("j", `
{"__REALTIME_TIMESTAMP":"1779271200000000","_PID":"1","SYSLOG_IDENTIFIER":"systemd","UNIT":"web.service","MESSAGE":"Started web.service - Web."}
{"__REALTIME_TIMESTAMP":"1779271206000000","_PID":"70","_SYSTEMD_UNIT":"web.service","MESSAGE":`+strings.ReplaceAll(message, " ", ",")+`}
{"__REALTIME_TIMESTAMP":"1779271207000000","_SOURCE_REALTIME_TIMESTAMP":"1779271206500000","_PID":"70","_SYSTEMD_UNIT":"web.service","PRIORITY":"3","MESSAGE":["two","values"]}
{"__REALTIME_TIMESTAMP":"1779271208000000","_PID":"70","_SYSTEMD_UNIT":"web.service","MESSAGE":null}
{"__REALTIME_TIMESTAMP":"1779271209000000","_PID":"1","SYSLOG_IDENTIFIER":"systemd","UNIT":"web.service","MESSAGE":"web.service: Main process exited, code=killed, status=9/KILL"}
{"__REALTIME_TIMESTAMP":"1779271210000000","_PID":"1","SYSLOG_IDENTIFIER":"systemd","UNIT":"web.service","MESSAGE":"web.service: Scheduled restart job, restart counter is at 1."}
{"__REALTIME_TIMESTAMP":"1779271211000000","_PID":"1","SYSLOG_IDENTIFIER":"systemd","UNIT":"web.service","MESSAGE":"Starting web.service - Web..."}
`))
	var got []string
	for _, c := range tl.chains {
		for _, e := range c.Events {
			if !e.Until.IsZero() {
				e.Text += " for " + e.Until.Sub(e.Time).String()
			}
			got = append(got, fmt.Sprint(e.Time.UnixMilli()%100000, " ", e.Process.Label(), " ", e.Text, " ", e.Attrs))
		}
	}
	want := []string{"5500 web 70 task failed: é [error=é g.a=1 g.b.c=true]", "6500 web 70 two values []", "9000 web 70 web.service: Main process exited, code=killed, status=9/KILL [UNIT=web.service]",
		"10000 systemd web.service: Scheduled restart job, restart counter is at 1 for 1s [UNIT=web.service]", "11000 systemd Starting web.service [UNIT=web.service]"}
	if !slices.Equal(got, want) || len(tl.Unread) > 0 || tl.lines != 7 {
		t.Errorf("%q, unread %v\nwant %q", got, tl.Unread, want)
	}
}

// A ledger's table joins the log of the same processes.
func TestLedger(t *testing.T) {
	ledger := lines("web.ledger", `BEGAN                     LEVEL  WAITED  PID   LASTED  END     CUT
2026-05-20T10:00:00.100Z  0      0s      4000  10s     failed  3, 1 again
2026-05-20T10:00:11.100Z  1      1s      4001          open
`)
	log := lines("web.jsonl", `
{"time":"2026-05-20T10:00:00.2Z","msg":"up","pid":4000,"who":"web"}
{"time":"2026-05-20T10:00:09.2Z","msg":"task failed","pid":4000,"who":"web","task":"poll","error":"no network"}
{"time":"2026-05-20T10:00:11.2Z","msg":"up","pid":4001,"who":"web"}
`)
	tl := Read(ledger, log)
	got := written(t, tl)
	for _, want := range []string{"web 4000  task failed poll: no network", "web 4000  run ended: failed after 10s, cut 3, 1 again", "web 4001  run began after a wait of 1s"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	ledger = lines("web.ledger", `BEGAN                     LEVEL  WAITED  PID   LASTED  END   CUT
2026-05-20T10:00:00.100Z  0      0s      4000  30s     died  0
`)
	log = lines("init.jsonl", `{"time":"2026-05-20T10:00:05Z","msg":"exited","pid":3,"who":"init","of":"web","child":4000,"signal":"killed"}`)
	if tl := Read(ledger, log); len(tl.chains) != 1 || len(tl.chains[0].Events) != 1 {
		t.Errorf("a run that died is one end:\n%s", written(t, tl))
	}
	if bad := Read(lines("x", "BEGAN  LEVEL  WAITED  PID  LASTED  END  CUT\nnow    0      0s      1\n")); len(bad.Unread) != 1 {
		t.Errorf("unread: %v", bad.Unread)
	}
}

// What a ledger says of a process that died is a part of the next one's story, and no
// failure of that one.
func TestLedgerOfDead(t *testing.T) {
	ledger := lines("web.ledger", `BEGAN                     LEVEL  WAITED  PID   LASTED  END      CUT
2026-05-20T10:00:00.100Z  0      0s      4000  10s     died     3 in flight
2026-05-20T10:00:11.100Z  1      1s      4001  5s      crashed  2 in flight, 1 again
2026-05-20T10:00:18.100Z  2      2s      4002          open     1 in flight
`)
	log := lines("web.jsonl", `
{"time":"2026-05-20T10:00:11Z","level":"WARN","msg":"run died","pid":4001,"who":"web","ran":"10s","sessions":3}
{"time":"2026-05-20T10:00:18Z","level":"WARN","msg":"run died","pid":4002,"who":"web","ran":"5s","sessions":2,"error":"panic: oh","stack":"panic: oh"}
{"time":"2026-05-20T10:00:18Z","level":"WARN","msg":"sessions cut again","pid":4002,"who":"web","sessions":1,"runs":2}
{"time":"2026-05-20T10:00:18Z","level":"WARN","msg":"suspects dropped","pid":4002,"who":"web","sessions":9,"most":8}
{"time":"2026-05-20T10:00:19Z","level":"WARN","msg":"session suspected","pid":4002,"who":"web","session":"ann","deaths":2}
`)
	tl := Read(ledger, log)
	got := written(t, tl)
	for _, want := range []string{
		"1 chain that", "web 4000  run ended: died after 10s, 3 in flight  ", "web 4001  run ended: crashed after 5s, 2 in flight, 1 again  ",
		"web 4001  the run before died after 10 s, 3 in flight  ", "web 4002  the run before died after 5.0 s, 2 in flight: panic: oh  ",
		"web 4002: sessions cut again: 1  ", "web 4002: suspects dropped: 9 sessions, more than 8  ", "web 4002: session suspected after 2 deaths  ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for _, c := range tl.chains {
		for _, e := range c.Events {
			if e.Kind == kindFailure {
				t.Errorf("a failure: %s", e.Text)
			}
		}
	}
}

// What a real ledger and a real lock write, lines and table, is understood.
func TestRealLedger(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, nil)).With("pid", os.Getpid(), "who", "web")
	l := restart.Ledger{Path: filepath.Join(t.TempDir(), "ledger"), Policy: restart.Policy{Min: 200 * time.Millisecond, Max: time.Second, Logger: logger}}
	for range 3 {
		if err := l.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.End(errors.New("no network"), "s1", "s2")
	}
	first := restart.Lock{Path: filepath.Join(t.TempDir(), "lock")}
	if err := first.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer first.Release(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	second := restart.Lock{Path: first.Path, Logger: logger}
	if err := second.Acquire(ctx); err == nil {
		t.Fatal("two hold the lock")
	}
	table, err := l.Table()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		in    Input
		lines int
		want  []string
	}{
		{lines("web.ledger", table), 4, []string{"run ended: failed after"}},
		{lines("web.jsonl", out.String()), 5, []string{"level 1: failed", "sessions cut again: 2", fmt.Sprintf("lock wait: held by pid %d since", os.Getpid())}},
	} {
		tl := Read(tt.in)
		got := written(t, tl)
		for _, c := range tl.chains {
			for _, e := range c.Events {
				got += e.Text + "\n"
			}
		}
		if tl.lines != tt.lines || len(tl.Unread) > 0 {
			t.Errorf("%s: %d lines, want %d, unread %v", tt.in.Name, tl.lines, tt.lines, tl.Unread)
		}
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s\n%s%s", tt.in.Name, want, got, table, &out)
			}
		}
	}
}

// A log writes n restarts of a service, each with a session that is cut, among
// lines that say nothing, as long as it is read.
type log struct {
	bytes.Buffer
	n, at int
	more  func(l *log, i int)
}

func (l *log) Read(p []byte) (int, error) {
	for l.Len() < len(p) && l.at < l.n {
		l.more(l, l.at)
		l.at++
	}
	return l.Buffer.Read(p)
}

func (l *log) line(i, ms int, format string, args ...any) {
	at := time.Date(2026, 5, 20, 10, 0, i, ms*1e6, time.UTC)
	fmt.Fprintf(l, `{"time":"%s",%s}`+"\n", at.Format(time.RFC3339Nano), fmt.Sprintf(format, args...))
}

func restarts(l *log, i int) {
	l.line(i, 0, `"msg":"up","pid":%d,"who":"web"`, i+10)
	for n := range 6 {
		l.line(i, n, `"msg":"request","level":"INFO","pid":%d,"who":"web","session":"%d","path":"/a/b/c","took":%d`, i+10, i*6+n, n)
	}
	l.line(i, 500, `"msg":"stop","pid":%d,"who":"web","signal":"terminated"`, i+10)
	l.line(i, 600, `"msg":"cut","pid":%d,"who":"web","session":"%d"`, i+10, i*6)
	l.line(i, 700, `"msg":"exited","pid":3,"who":"init","of":"web","child":%d,"status":0`, i+10)
}

// Memory is bounded, whatever the logs hold: two of many processes and sessions,
// with more events than are kept.
func TestBounded(t *testing.T) {
	const n = 17000 // more than what it remembers of processes and sessions
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var half, full uint64
	watch := func(l *log, i int) {
		switch i {
		case n / 2:
			half = heap()
		case n - 1:
			full = heap()
		}
		restarts(l, i)
	}
	tl := Read(
		Input{Name: "a", Reader: &log{n: n, more: watch}},
		Input{Name: "b", Reader: &log{n: n, more: func(l *log, i int) {
			l.line(i, 300, `"msg":"stop","pid":%d,"who":"job","cause":"done"`, 1e6+i)
			l.line(i, 301, `"msg":"exited","pid":3,"who":"init","of":"job","child":%d,"status":0`, int(1e6)+i)
		}}})
	events := 0
	for _, c := range tl.chains {
		events += len(c.Events)
	}
	if full > half+half/8 || events > 5000 || !strings.Contains(written(t, tl), "further events left out") {
		t.Errorf("%d KB in use in the middle, %d KB at the end; %d events kept", half>>10, full>>10, events)
	}
	t.Logf("%d lines, %d MB in use", tl.lines, full>>20)
}

func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	var one log
	restarts(&one, 0)
	b.SetBytes(int64(one.Len()))
	Read(Input{Name: "a", Reader: &log{n: b.N, more: restarts}})
}
