package timeline

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// of reads logs with the zero Options; each is an input.
func of(logs ...string) *Timeline {
	var ins []Input
	for i, log := range logs {
		ins = append(ins, Input{fmt.Sprint("log", i), strings.NewReader(log)})
	}
	return Read(ins...)
}

// told says what a timeline holds: a row for each event, with the number of its cause.
func (t *Timeline) told() string {
	var b strings.Builder
	v := t.view()
	for _, c := range append(v.Costly, v.Quiet...) {
		for _, r := range c.Rows {
			fmt.Fprintf(&b, "%d<%d %s %s: %s (%d)\n", r.Number, r.From, r.Process.Label(), r.Kind, r.Text, r.Times)
		}
		fmt.Fprintf(&b, "= %d failures, %d cuts, %d lost, %v unanswered\n", c.Failures, c.Cuts, c.Lost, c.Unanswered)
	}
	return b.String()
}

// TestTold compares all that the timeline says about logs that are easy to misread.
func TestTold(t *testing.T) {
	const at = "2026-05-20T10:00:"
	for _, tt := range []struct {
		name string
		logs []string
		want string
	}{
		{"a cut of whole seconds comes after its cause of the same second", []string{
			`2026/05/20 10:00:05 [error] 7#7: *2 connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: , request: "GET / HTTP/1.1", upstream: "http://127.0.0.1:21002/", host: "x"` + "\n",
			`{"time":"2026-05-20T10:00:05.4Z","msg":"stop","pid":4,"who":"web","signal":"terminated"}` + "\n"}, `
1<0 web 4 signal: received SIGTERM (1)
2<1 nginx 7 cut: connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: , request:… (1)
= 0 failures, 0 cuts, 1 lost, 0s unanswered`},
		{"a signal again is one, if its lines are together", []string{"May 20 10:00:05 host app[9]: Received SIGTERM\nMay 20 10:00:06 host app[9]: Received SIGTERM\nMay 20 10:00:15 host app[9]: Received SIGTERM\n"}, `
1<0 app 9 signal: received SIGTERM (1)
2<1 app 9 signal: received SIGTERM (1)
= 0 failures, 0 cuts, 0 lost, 0s unanswered`},
		{"a kill by the kernel that systemd tells too is one failure", []string{"May 20 10:00:05 host kernel: Out of memory: Killed process 12 (python3) total-vm:1kB\n" +
			"May 20 10:00:05 host systemd[1]: web.service: A process of this unit has been killed by the OOM killer.\n" +
			"May 20 10:00:05 host systemd[1]: web.service: Main process exited, code=killed, status=9/KILL\n"}, `
1<0 kernel order: Out of memory: Killed process 12 (python3) total-vm:1kB (1)
2<1 systemd order: web.service: A process of this unit has been killed by the OOM killer (1)
3<2 web exit: web.service: Main process exited, code=killed, status=9/KILL (1)
= 1 failures, 0 cuts, 0 lost, 0s unanswered`},
		{"a ledger's run that was stopped", []string{"BEGAN  LEVEL  WAITED  PID  LASTED  END  CUT\n2026-05-20T10:00:00.000Z 0 0s 12 5s stopped 0\n2026-05-20T10:00:06.000Z 0 0s 13 5s failed 0\n" +
			`{"time":"2026-05-20T10:00:12Z","msg":"x","pid":4}` + "\n2026-05-20T10:00:13Z INFO app: Received SIGTERM\n"}, `
1<0 log0 12 exit: run ended: stopped after 5s (1)
2<1 log0 13 start: run began (1)
3<2 log0 13 exit: run ended: failed after 5s (1)
4<3 log0 4 start: starts: x (1)
= 1 failures, 0 cuts, 0 lost, 0s unanswered
5<0 log0 signal: received SIGTERM (1)
= 0 failures, 0 cuts, 0 lost, 0s unanswered`},
		{"a process id of another", []string{"May 20 10:00:05 host app[4]: Received SIGTERM\nMay 20 10:00:06 host init[1]: exited\n" +
			`{"time":"2026-05-20T10:00:06Z","msg":"exited","pid":1,"who":"init","child":4,"status":0}` + "\nMay 20 10:10:05 host db[4]: Received SIGTERM\n"}, `
1<0 app 4 signal: received SIGTERM (1)
2<1 app 4 exit: exited with status 0 (1)
= 0 failures, 0 cuts, 0 lost, 0s unanswered
3<0 db 4 signal: received SIGTERM (1)
= 0 failures, 0 cuts, 0 lost, 0s unanswered`},
		{"a connection that is back is back once", []string{at + "05Z ERROR app: connection to redis lost\n" + at + "06Z INFO app: Reconnected to redis\n" + at + "07Z INFO app: Reconnected to redis\n"}, `
1<0 log0 cut: connection to redis lost (1)
2<1 log0 reconnect: Reconnected to redis (1)
= 0 failures, 0 cuts, 1 lost, 0s unanswered`},
		{"a journal's priority is that of what has no level", []string{`{"__REALTIME_TIMESTAMP":"1779271205000000","_PID":"4","SYSLOG_IDENTIFIER":"app","PRIORITY":"6","MESSAGE":"Received SIGTERM"}
{"__REALTIME_TIMESTAMP":"1779271206000000","_PID":"4","SYSLOG_IDENTIFIER":"app","PRIORITY":"4","MESSAGE":"slow"}
{"__REALTIME_TIMESTAMP":"1779271207000000","_PID":"4","SYSLOG_IDENTIFIER":"app","PRIORITY":"3","MESSAGE":"{\"level\":\"INFO\",\"msg\":\"flushed\"}"}
{"__REALTIME_TIMESTAMP":"1779271208000000","_PID":"4","SYSLOG_IDENTIFIER":"app","PRIORITY":"3","MESSAGE":"cannot flush"}
`}, `
1<0 app 4 signal: received SIGTERM (1)
2<1 app 4 failure: cannot flush (1)
= 0 failures, 0 cuts, 0 lost, 0s unanswered`},
		{"a trace's lines are of its container", []string{"web-1  | Traceback (most recent call last):\nweb-1  | KeyError: 'x'\ndb-1   | ValueError: bad page\n"}, `
1<0 log0 failure: Traceback (most recent call last):: KeyError: 'x' (1)
= 1 failures, 0 cuts, 0 lost, 0s unanswered`},
		{"the account of a session goes to the next", []string{`{"time":"2026-05-20T10:00:00Z","msg":"typed","pid":4,"who":"cli","session":"a"}
{"time":"2026-05-20T10:00:10Z","msg":"panic: boom","pid":4,"who":"cli","session":"a"}
{"time":"2026-05-20T10:00:25Z","msg":"up","pid":6,"who":"cli","session":"b"}
{"time":"2026-05-20T10:00:30Z","msg":"answered","pid":7,"who":"x","session":"a"}
{"time":"2026-05-20T10:00:45Z","msg":"answered","pid":6,"who":"cli","session":"b"}
`}, `
1<0 cli a failure: panic: boom (1)
2<1 cli b start: starts: up (1)
3<2 cli b answer: answered (1)
= 1 failures, 1 cuts, 0 lost, 35s unanswered`},
		{"a session waits until the last line, also if that is dull", []string{`{"time":"2026-05-20T10:00:00Z","msg":"stop","pid":4,"who":"web","signal":"terminated"}
{"time":"2026-05-20T10:00:01Z","msg":"cut","pid":6,"who":"cli","session":"a"}
{"time":"2026-05-20T10:00:30Z","msg":"tick","pid":6,"who":"cli","session":"a"}
{"time":"2026-05-20T10:01:01Z","msg":"tick","pid":6,"who":"cli","session":"a"}
`}, `
1<0 web 4 signal: received SIGTERM (1)
2<1 cli a cut: cut (1)
= 0 failures, 1 cuts, 0 lost, 1m0s unanswered`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := of(tt.logs...).told(); strings.TrimSpace(got) != strings.TrimSpace(tt.want) {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}

// load reads tables from JSON.
func load(t *testing.T, rules string) *Tables {
	t.Helper()
	own, err := LoadTables(strings.NewReader(rules))
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// Tables that cannot be meant are refused, with the field's name.
func TestBadTables(t *testing.T) {
	const rule = `{"rules":[{"name":"x","has":"going down","match":"^going down","kind":"stop","example":"2026-05-20T10:00:05Z going down"}]}`
	for _, tt := range [][3]string{
		{`"match":"^`, `"match":"^(?P<victim>)`, "no field victim"},
		{`"kind"`, `"set":{"colour":"red"},"kind"`, "no field colour"},
		{`"kind":"stop"`, `"kind":"end"`, `kind: "end" is none of`},
		{`"kind"`, `"level":"trace","kind"`, `level: "trace" is none of`},
		{`"kind"`, `"early":"61s","kind"`, `early: "61s" is not`},
		{`"kind"`, `"gives":"of=web","kind"`, `gives "", not "of=web"`},
	} {
		if _, err := LoadTables(strings.NewReader(strings.Replace(rule, tt[0], tt[1], 1))); err == nil || !strings.Contains(err.Error(), tt[2]) {
			t.Errorf("%s: %v", tt[1], err)
		}
	}
	for level, want := range map[string]int{"DEBUG": 1, "TRACE": 0} { // a rule without a level
		tl, err := Options{Tables: load(t, rule)}.Read(Input{"a", strings.NewReader("2026-05-20T10:00:05Z " + level + " going down\n")})
		if err != nil || len(tl.chains) != want {
			t.Errorf("%s: %d chains, %v", level, len(tl.chains), err)
		}
	}
}

// A user's tables are tried first. A field that does not exist is an error. A format
// may begin in more than one way.
func TestOwnTables(t *testing.T) {
	if _, err := LoadTables(strings.NewReader(`{"rules":[{"nmae":"x"}]}`)); err == nil || !strings.Contains(err.Error(), "nmae") {
		t.Error(err)
	}
	own := load(t, `{"formats":[{"name":"either","match":"\\d+ (?P<msg>.*)|x (?P<msg2>.*)","example":"x going down"}],
		"rules":[{"name":"first","has":"going down","match":"^(?P<who>\\w+)? ?going down","kind":"stop","example":"2026-05-20T10:00:05Z web going down"},
			{"name":"mine","has":"received sigterm","match":"^Received SIGTERM","kind":"exit","example":"2026-05-20T10:00:05Z Received SIGTERM"}]}`)
	tl, err := Options{Tables: own}.Read(Input{"a", strings.NewReader("x going down\n")},
		Input{"b", strings.NewReader("2026-05-20T10:00:05Z web going down\npanic: boom\n2026-05-20T10:00:07Z INFO app: Received SIGTERM\n")})
	if err != nil {
		t.Fatal(err)
	}
	const want = `1<0 web stop: web going down (1)
2<1 web failure: panic: boom (1)
= 1 failures, 0 cuts, 0 lost, 0s unanswered
3<0 a stop: going down (1)
= 0 failures, 0 cuts, 0 lost, 0s unanswered
4<0 b exit: Received SIGTERM (1)
= 0 failures, 0 cuts, 0 lost, 0s unanswered`
	if got := strings.TrimSpace(tl.told()); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// The scan finds a literal at each place of a line.
func TestScanPlaces(t *testing.T) {
	s := newScanner([]rule{{has: []string{"abcde"}}})
	for before := range 5 {
		for after := range 5 {
			if line := strings.Repeat(".", before) + "aBcDe" + strings.Repeat(".", after); !s.hit([]byte(line)) {
				t.Errorf("%q is dull", line)
			}
		}
	}
}

// The first line of a process about a session is read, whatever it writes.
func TestFresh(t *testing.T) {
	in := &input{writers: newRecent[uint64, struct{}](10)}
	for _, line := range []string{`{"pid":12,"session":3}`, `{"pid":1,"session":23}`, `{"pid":12}`, `{"session":12}`} {
		if first, again := in.fresh([]byte(line)), in.fresh([]byte(line)); !first || again {
			t.Errorf("%s: %v, then %v", line, first, again)
		}
	}
}

// What is used is not forgotten, and what is not used is.
func TestRecent(t *testing.T) {
	r := newRecent[int, int](2)
	for i := range 10 {
		r.put(i, i)
		if _, ok := r.get(0); !ok {
			t.Fatalf("0 is forgotten after %d", i)
		}
	}
	if _, ok := r.get(1); ok || len(r.now)+len(r.old) > 4 {
		t.Errorf("%v %v", r.now, r.old)
	}
}

// An object may have many members: which of them are kept is not left to chance.
func TestMembers(t *testing.T) {
	m, into := map[string]any{}, map[string]string{}
	for i := range 2 * most {
		m[fmt.Sprintf("k%03d", i)] = i
	}
	if flatten("", m, into); len(into) != most || into["k000"] == "" || into[fmt.Sprintf("k%03d", most)] != "" {
		t.Errorf("%d members", len(into))
	}
}

// of10 is a time, ms after ten o'clock.
func of10(ms int) string {
	return time.Date(2026, 5, 20, 10, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond).Format("2006-01-02T15:04:05.000Z")
}

// Of many orders under way the latest count. Of many events that cost nothing the
// oldest are forgotten. An event that repeats lists some of its lines.
func TestMany(t *testing.T) {
	var orders, stops, traces strings.Builder
	for i := range 65 {
		fmt.Fprintf(&orders, `{"time":"%s","msg":"kills","pid":2,"who":"user","child":%d,"signal":"terminated"}`+"\n", of10(i), 100+i)
	}
	for i := 64; i >= 35; i-- {
		fmt.Fprintf(&orders, `{"time":"%s","msg":"stop","pid":%d,"who":"web","signal":"terminated"}`+"\n", of10(1000-i), 100+i)
	}
	linked := 0
	for _, c := range of(orders.String()).chains {
		for _, e := range c.Events {
			if e.Kind == kindSignal && len(e.Causes) > 0 && e.Causes[0].Rule == bySignal {
				linked++
			}
		}
	}
	if linked != 30 {
		t.Errorf("of 30 signals %d have an order", linked)
	}
	for i := range 6000 {
		fmt.Fprintf(&stops, `{"time":"%s","msg":"stop","pid":%d,"who":"web%d","signal":"terminated"}`+"\n", of10(i*1000), 100+i, i)
		traces.WriteString("web-1  | Traceback (most recent call last):\nweb-1  | KeyError: 'x'\n")
	}
	tl := of(stops.String())
	if last := tl.chains[len(tl.chains)-1].Events[0]; last.Process.PID != 6099 || len(tl.chains) < 2500 || len(tl.chains) > mostEvents {
		t.Errorf("%d chains, the last of %s", len(tl.chains), last.Process.Label())
	}
	repeated := of(traces.String()).chains[0].Events[0]
	if repeated.Times < 2 || len(repeated.spans) != mostSpans {
		t.Errorf("%d times, %d lines", repeated.Times, len(repeated.spans))
	}
}

// What is written about times: the end of a phase, null where no clock told one, all
// in the zone of the first.
func TestWrittenTimes(t *testing.T) {
	tl := of(`{"time":"2026-05-20T12:00:01+02:00","msg":"stop","pid":4,"signal":"terminated"}
{"time":"2026-05-20T12:00:01+02:00","msg":"drain began","pid":4}
{"time":"2026-05-20T12:00:02+02:00","msg":"phase began","pid":4,"phase":"requests"}
{"time":"2026-05-20T12:00:05+02:00","msg":"drain ended","pid":4,"took":3000000000,"failed":0}
{"time":"2026-05-20T10:00:07Z","msg":"stop","pid":5,"who":"other","signal":"terminated"}
`)
	phase := tl.chains[0].Events[2]
	if took := phase.Until.Sub(phase.Time); phase.Kind != kindPhase || took != 3*time.Second {
		t.Errorf("%s took %v", phase.Kind, took)
	}
	var text, js strings.Builder
	if err := errors.Join(tl.WriteText(&text), of("Received SIGTERM\n").WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	if got := text.String(); !strings.Contains(got, "12:00:01") || !strings.Contains(got, "12:00:07") {
		t.Error(got)
	}
	if got := js.String(); !strings.Contains(got, `"time": null`) {
		t.Error(got)
	}
}

// Chains that only touch do not overlap. Of many that do, 20 pairs are named.
func TestOverlaps(t *testing.T) {
	var touch, many strings.Builder
	for i := range 8 {
		fmt.Fprintf(&touch, `{"time":"2026-05-20T10:00:05Z","msg":"task failed","pid":%d,"who":"web%d","error":"x"}`+"\n", 10+i, i)
		fmt.Fprintf(&many, `{"time":"%s","msg":"stop","pid":%d,"who":"web%d","signal":"terminated"}`+"\n", of10(i*60000), 10+i, i)
		fmt.Fprintf(&many, `{"time":"%s","msg":"cut","pid":%d,"who":"cli%d","session":"s%d"}`+"\n", of10(i*60000+1000), 50+i, i, i)
	}
	if tl := of(touch.String()); len(tl.chains) != 8 || len(tl.view().relations()) != 0 {
		t.Errorf("%d chains, %v", len(tl.chains), tl.view().relations())
	}
	tl := of(many.String())
	notes := tl.view().relations()
	if n := len(notes); len(tl.chains) != 8 || n != 21 || !strings.HasPrefix(notes[n-1], "There may be more") {
		t.Errorf("%d chains, %d notes: %q", len(tl.chains), n, notes)
	}
}

// Lines without any clock are not slower to read than those with a time.
func TestNoClock(t *testing.T) {
	var took [2]time.Duration
	for i, at := range []string{"2026-05-20T10:00:05Z ", ""} {
		log := strings.Repeat(at+"web-1 shutdown of nothing\n", 4000)
		began := time.Now()
		of(log)
		took[i] = time.Since(began)
	}
	if took[1] > 3*took[0] {
		t.Errorf("%v with a time, %v without", took[0], took[1])
	}
}
