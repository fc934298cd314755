package timeline

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// read reads files, by pattern.
func read(t *testing.T, pattern string) *Timeline {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || names == nil {
		t.Fatalf("%s: %v, %d files", pattern, err, len(names))
	}
	var inputs []Input
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, Input{Name: filepath.Base(name), Reader: bytes.NewReader(b)})
	}
	return Read(inputs...)
}

func written(t *testing.T, tl *Timeline) string {
	t.Helper()
	var b strings.Builder
	if err := tl.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// lines reads lines of one input, separated by newlines.
func lines(name, text string) Input {
	return Input{Name: name, Reader: strings.NewReader(text)}
}

// The table of the incident, typed in as the lines that its processes would have
// written; what its example writes before and after; a journal of a real systemd:
// a restart, a kill, and two loops that end at the start limit.
func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		golden, files string
		costly        int
	}{
		{"incident.txt", "incident/*.jsonl", 2},
		{"before.txt", "before.jsonl", 2},
		{"after.txt", "after.jsonl", 0},
		{"journal.txt", "journal.json", 5},
	} {
		t.Run(tt.golden, func(t *testing.T) {
			tl := read(t, tt.files)
			got := written(t, tl)
			golden := filepath.Join("testdata", tt.golden)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(golden); got != string(want) {
				t.Errorf("%v; go test -update writes it\n%s", err, got)
			}
			costly := 0
			for _, c := range tl.chains {
				if c.costly() {
					costly++
				}
			}
			if costly != tt.costly || len(tl.Unread) > 0 {
				t.Errorf("%d chains cost something, want %d; unread %v", costly, tt.costly, tl.Unread)
			}
		})
	}
}

// Each cause is the one of the test's name, whatever else happens beside it.
func TestRules(t *testing.T) {
	const noise = `{"time":"2026-05-20T10:00:00Z","msg":"stop","pid":900,"who":"other","signal":"interrupt"}
{"time":"2026-05-20T10:00:00Z","msg":"exited","pid":900,"who":"other","status":0}
`
	for _, tt := range []struct{ name, lines, want string }{
		{"an order is passed on, and received", `
10:00:01 {"msg":"restart job","pid":2,"who":"user","of":"web","signal":"terminated"}
10:00:01 {"msg":"stopping","pid":3,"who":"init","of":"web","child":4,"signal":"terminated"}
10:00:02 {"msg":"stop","pid":4,"who":"web","signal":"terminated"}`,
			"order; order of user: passes on; signal of init: was sent"},
		{"a drain and its parts", `
10:00:01 {"msg":"stop","pid":4,"signal":"terminated"}
10:00:01 {"msg":"drain began","pid":4}
10:00:01 {"msg":"phase began","pid":4,"phase":"requests"}
10:00:02 {"msg":"step ended","pid":4,"phase":"requests","step":"http","outcome":"ok","took":1000000000}
10:00:02 {"msg":"drain ended","pid":4,"took":1000000000,"failed":0}
10:00:02 {"msg":"exited","pid":9,"who":"init","child":4,"status":0}`,
			"signal; drain of log: same process; phase of log: drain; step of log: phase; exit of log: drain"},
		{"a failure stops its process, and it starts again", `
10:00:01 {"msg":"task failed","pid":4,"who":"web","error":"no disk"}
10:00:01 {"msg":"stop","pid":4,"who":"web","cause":"no disk"}
10:00:01 {"msg":"cannot flush","level":"ERROR","pid":4,"who":"web"}
10:00:02 {"msg":"exited","pid":1,"who":"init","of":"web","child":4,"status":1}
10:00:03 {"msg":"restart wait","pid":5,"who":"web","wait":2000000000}
10:00:05 {"msg":"up","pid":5,"who":"web"}
10:00:06 {"msg":"task failed","pid":5,"who":"web","error":"no disk"}`,
			"failure; stop of web: failure before; failure of web: stop of; exit of web: failure before; wait of web: exited; start of web: wait; failure of web: failed again"},
		{"a session is back on a dying listener's backlog, and cut again", `
10:00:01 {"msg":"up","pid":4,"who":"web"}
10:00:01 {"msg":"response began","pid":4,"who":"web","session":"s"}
10:00:02 {"msg":"stop","pid":4,"who":"web","signal":"terminated"}
10:00:03 {"msg":"cut","pid":6,"who":"cli","session":"s"}
10:00:04 {"msg":"connected","pid":6,"who":"cli","session":"s"}
10:00:05 {"msg":"cut","pid":6,"who":"cli","session":"s"}
10:00:06 {"msg":"up","pid":7,"who":"web"}
10:00:06 {"msg":"response began","pid":7,"who":"web","session":"s"}
10:00:07 {"msg":"connected","pid":6,"who":"cli","session":"s"}`,
			"signal; cut of web: server was stopping; reconnect of cli: had been cut; cut of web: server was stopping; start of web: was stopped; reconnect of web: start of the session's server"},
		{"a server's stop cuts, not the one that is nearest", `
10:00:01 {"msg":"up","pid":4,"who":"web"}
10:00:01 {"msg":"response began","pid":4,"who":"web","session":"s"}
10:00:02 {"msg":"stop","pid":4,"who":"web","signal":"terminated"}
10:00:03 {"msg":"stop","pid":5,"who":"near","signal":"terminated"}
10:00:04 {"msg":"cut","pid":6,"who":"cli","session":"s"}
10:00:05 {"msg":"up","pid":7,"who":"web"}
10:00:06 {"msg":"response began","pid":7,"who":"web","session":"s"}
10:00:06 {"msg":"connected","pid":6,"who":"cli","session":"s"}
10:00:07 {"msg":"answered","pid":6,"who":"cli","session":"s"}`,
			"signal; cut of web: server was stopping; start of web: was stopped; reconnect of web: start of the session's server; answer of cli: had come back"},
		{"where the server is not known, the nearest", `
10:00:02 {"msg":"stop","pid":4,"who":"web","signal":"terminated"}
10:00:04 {"msg":"cut","pid":6,"who":"cli","session":"s"}`,
			"signal; cut of web: latest stop"},
		{"not the nearest, where the server is known", `
10:00:01 {"msg":"up","pid":5,"who":"web"}
10:00:01 {"msg":"response began","pid":5,"who":"web","session":"s"}
10:00:02 {"msg":"stop","pid":4,"who":"near","signal":"terminated"}
10:00:04 {"msg":"cut","pid":6,"who":"cli","session":"s"}`,
			"signal | cut"},
		{"a CLI's own end", `
10:00:02 {"msg":"up","pid":6,"who":"cli","session":"s"}
10:00:02 {"msg":"response began","pid":4,"who":"web","session":"s"}
10:00:02 {"msg":"response began","pid":4,"who":"web","session":"s2"}
10:00:03 {"msg":"stop","pid":6,"who":"cli","session":"s","signal":"interrupt"}
10:00:04 {"msg":"client gone","pid":4,"who":"web","session":"s"}`,
			"signal; cut of cli: own process was ending"},
		{"stopped again before its sessions have an answer", `
10:00:02 {"msg":"stop","pid":4,"who":"web","signal":"terminated"}
10:00:04 {"msg":"cut","pid":6,"who":"cli","session":"s"}
10:05:00 {"msg":"stop","pid":5,"who":"web","signal":"terminated"}`,
			"signal; cut of web: latest; start of web: was stopped; signal of web: stopped before"},
		{"answered in between, it is another chain", `
10:00:02 {"msg":"stop","pid":4,"who":"web","signal":"terminated"}
10:00:04 {"msg":"cut","pid":6,"who":"cli","session":"s"}
10:00:05 {"msg":"answered","pid":6,"who":"cli","session":"s"}
10:30:00 {"msg":"stop","pid":5,"who":"web","signal":"terminated"}`,
			"signal; cut of web: latest; answer of cli: come back | signal"},
		{"an error after a stop is an effect, a warning is nothing", `
10:00:02 {"msg":"stop","pid":2,"who":"web","signal":"terminated"}
10:00:03 {"msg":"slow","pid":2,"who":"web","level":"WARN"}
10:00:03 {"msg":"cannot flush","pid":2,"who":"web","level":"ERROR"}
10:20:03 {"msg":"another story","pid":2,"who":"web","level":"ERROR"}`,
			"signal; failure of web: same process"},
		{"a task that is run again and again", `
10:00:02 {"msg":"restart wait","pid":2,"who":"web","wait":1000000000,"error":"no network"}
10:00:04 {"msg":"restart wait","pid":2,"who":"web","wait":2000000000,"error":"no network"}`,
			"wait; wait of web: waited before"},
		{"a second signal has a sender of its own", `
10:00:01 {"msg":"stop","pid":4,"who":"cli","signal":"interrupt"}
10:00:02 {"msg":"kills","pid":2,"who":"user","of":"cli","child":4,"signal":"interrupt"}
10:00:02 {"msg":"again","pid":4,"who":"cli","signal":"interrupt"}`,
			"signal | order; signal of user: was sent"},
		{"a process id that is given again", `
10:00:01 {"msg":"stop","pid":4,"who":"web","signal":"terminated"}
10:00:02 {"msg":"exited","pid":3,"who":"init","of":"web","child":4,"status":0}
10:00:05 {"msg":"stop","pid":4,"who":"db","signal":"interrupt"}`,
			"signal; exit of web: same process | signal"},
		{"a supervisor's own stop", `
10:00:02 {"msg":"stop","pid":2,"who":"init","cause":"context canceled"}
10:00:02 {"msg":"stopping web","pid":2,"who":"init","child":4,"of":"web","signal":"terminated"}`,
			"stop; order of init: own stop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			for _, l := range strings.Split(strings.TrimSpace(tt.lines), "\n") {
				at, attrs, _ := strings.Cut(l, " {")
				fmt.Fprintf(&log, `{"time":"2026-05-20T%sZ",%s`+"\n", at, attrs)
			}
			tl := Read(lines("noise.jsonl", noise), lines("log.jsonl", log.String()))
			var chains []string
			for _, c := range tl.chains {
				var events []string
				for _, e := range c.Events {
					s := string(e.Kind)
					if len(e.Causes) > 0 {
						s += fmt.Sprintf(" of %s: %s", e.Causes[0].Process.Name, e.Causes[0].Rule)
					}
					events = append(events, s)
				}
				chains = append(chains, strings.Join(events, "; "))
			}
			chains = slices.DeleteFunc(chains, func(s string) bool { return s == "signal; exit of other: the stop of the same process" })
			if got := strings.Join(chains, " | "); !matches(got, tt.want) {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}

// matches reports whether each part of got contains its part of want.
func matches(got, want string) bool {
	g, w := strings.Split(got, ";"), strings.Split(want, ";")
	return len(g) == len(w) && !slices.ContainsFunc(w, func(part string) bool {
		have := g[0]
		g = g[1:]
		what, rule, _ := strings.Cut(part, ": ")
		return !strings.HasPrefix(have, what) || !strings.Contains(have, rule)
	})
}

// A session's time without an answer is on the account of the chain that cut it
// last; what two sessions lose at once counts once. A process that fails again
// cuts again; the next one is there for its user.
func TestUnanswered(t *testing.T) {
	tl := Read(lines("log", `
{"time":"2026-05-20T10:00:00Z","msg":"typed","pid":6,"who":"cli","session":"s"}
{"time":"2026-05-20T10:00:10Z","msg":"stop","pid":4,"who":"web","signal":"terminated"}
{"time":"2026-05-20T10:00:10Z","msg":"cut","pid":6,"who":"cli","session":"s","kind":"answer","attempt":"1"}
{"time":"2026-05-20T10:00:10Z","msg":"cut","pid":6,"who":"cli","session":"s","kind":"session","attempt":"1"}
{"time":"2026-05-20T10:00:12Z","msg":"cut","pid":7,"who":"cli","session":"s2"}
{"time":"2026-05-20T10:00:20Z","msg":"connected","pid":7,"who":"cli","session":"s2"}
{"time":"2026-05-20T10:00:30Z","msg":"connected","pid":6,"who":"cli","session":"s"}
{"time":"2026-05-20T10:00:40Z","msg":"stop","pid":8,"who":"db","signal":"terminated"}
{"time":"2026-05-20T10:00:40Z","msg":"cut","pid":6,"who":"cli","session":"s","kind":"answer","attempt":"2"}
{"time":"2026-05-20T10:00:45Z","msg":"answered","pid":6,"who":"cli","session":"s"}
`))
	again := Read(lines("log", `
{"time":"2026-05-20T10:00:00Z","msg":"up","pid":4,"who":"cli","session":"a"}
{"time":"2026-05-20T10:00:10Z","msg":"panic: boom","pid":4,"who":"cli","session":"a"}
{"time":"2026-05-20T10:00:15Z","msg":"up","pid":5,"who":"cli","session":"a"}
{"time":"2026-05-20T10:00:20Z","msg":"panic: boom","pid":5,"who":"cli","session":"a"}
{"time":"2026-05-20T10:00:25Z","msg":"up","pid":6,"who":"cli","session":"b"}
{"time":"2026-05-20T10:01:00Z","msg":"up","pid":7,"who":"other"}
`))
	var got []string
	for _, c := range slices.Concat(tl.chains, again.chains) {
		got = append(got, fmt.Sprint(c.Cuts, c.Sessions, c.Unanswered))
	}
	if want := []string{"2 [s s2] 30s", "1 [s] 5s", "2 [a] 15s"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// An error that repeats itself is one event, and a line has 32 attributes at most.
func TestRepeats(t *testing.T) {
	var many strings.Builder
	for i := range 40 {
		fmt.Fprintf(&many, `"k%d":%d,`, i, i)
	}
	tl := Read(lines("log", `
{"time":"2026-05-20T10:00:00Z",`+many.String()+`"msg":"panic: boom","pid":4}
{"time":"2026-05-20T10:00:00Z","msg":"panic: boom","pid":4}
`))
	if e := tl.chains[0].Events[0]; e.Times != 2 || len(e.Attrs) != 32 || !strings.Contains(written(t, tl), "panic: boom (2 times)") {
		t.Errorf("%d times, %d attributes\n%s", e.Times, len(e.Attrs), written(t, tl))
	}
}

// A page says as many events and links as the text, and lets nothing out of a
// log become markup.
func TestPage(t *testing.T) {
	const evil = `</script><script>alert(1)</script><img src=x onerror=alert(2)>`
	tl := Read(lines(evil, fmt.Sprintf(`
{"time":"2026-05-20T10:00:00Z","msg":"panic: %[1]s","pid":6,"who":"%[1]s","session":"%[1]s","error":"%[1]s","%[1]s":"%[1]s"}
%[1]s
`, evil)))
	var page bytes.Buffer
	if err := tl.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if s := page.String(); strings.Contains(s, evil[9:]) || strings.Contains(s, "<img") || len(tl.chains) != 1 || len(tl.Unread) != 0 {
		t.Errorf("%d chains, unread %v\n%s", len(tl.chains), tl.Unread, s)
	}
	for _, remote := range []string{"http://", "https://", "@import", "url(h"} {
		if strings.Contains(page.String(), remote) {
			t.Errorf("page has %q", remote)
		}
	}
}
