package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	stop = `{"time":"2026-05-20T22:55:01Z","msg":"stop","pid":70093,"who":"gateway","signal":"terminated"}` + "\n"
	cut  = `{"time":"2026-05-20T22:55:13Z","msg":"cut","who":"cli","session":"225211"}` + "\n"
)

func TestTimeline(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	gateway, cli, torn := file("gateway.jsonl", stop), file("cli.jsonl", cut), file("torn.jsonl", cut+`{"msg":"cut","time":"2026`)
	rules := file("rules.json", `{"rules":[{"name":"x","has":"going down","match":"^going down: (?P<why>.*)","kind":"stop","example":"2026-05-20T22:55:01Z going down: deploy"}]}`)
	bad := file("bad.json", `{"rules":[{"name":"x","has":"going down","match":"^going up","kind":"stop","example":"going down"}]}`)
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o777); err != nil {
		t.Fatal(err)
	}
	file(filepath.Join("d", "a"), stop)
	file(filepath.Join("d", "b"), cut)
	page, none := filepath.Join(dir, "out.html"), filepath.Join(dir, "none", "x")
	for _, tt := range []struct {
		name      string
		args      []string
		stdin     string
		status    int
		out, errs string
	}{
		{"files", []string{gateway, cli}, "", 0, "2 lines, 2 events: 1 chain", ""},
		{"standard input", nil, stop + cut, 0, "2 lines, 2 events: 1 chain", ""},
		{"a torn line", []string{gateway, torn}, "", 1, "3 lines, 2 events: 1 chain", "evenkeel timeline: " + torn + ":2: the line is torn\n"},
		{"a missing file", []string{gateway, none, cli}, "", 1, "2 lines, 2 events: 1 chain", "evenkeel timeline: open " + none},
		{"a folder", []string{filepath.Join(dir, "d")}, "", 0, "2 lines, 2 events", ""},
		{"a pattern, and -", []string{filepath.Join(dir, "gate*"), "-"}, cut, 0, "2 lines, 2 events", ""},
		{"junk", nil, strings.Repeat("junk\n", 102), 0, "102 lines, 0 events", ""},
		{"many torn lines", nil, strings.Repeat(`{"msg":"cut","x":`+"\n", 102), 1, "102 lines", "evenkeel timeline: standard input:1: the line is torn\n"},
		{"JSON", []string{"-json", gateway}, "", 0, "{\n", ""},
		{"rules", []string{"-rules", rules, "-"}, "2026-05-20T22:55:01Z going down: deploy\n", 0, "1 line, 1 event", ""},
		{"bad rules", []string{"-rules", bad, "-"}, "", 2, "", "evenkeel timeline: " + bad + ": timeline: rule x: "},
		{"no zone", []string{"-zone", "Nowhere", "-"}, "", 2, "", "evenkeel timeline: unknown time zone Nowhere"},
		{"a page", []string{"-html", page, gateway, cli}, "", 0, "", ""},
		{"a page nowhere", []string{"-html", none, gateway}, "", 1, "", "evenkeel timeline: open " + none},
		{"a flag", []string{"-svg"}, "", 2, "", "flag provided but not defined: -svg"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			status := run(append([]string{"timeline"}, tt.args...), strings.NewReader(tt.stdin), &out, &errs)
			if status != tt.status || !strings.HasPrefix(out.String(), tt.out) || (out.Len() > 0) != (tt.out != "") ||
				!strings.HasPrefix(errs.String(), tt.errs) || (errs.Len() > 0) != (tt.errs != "") {
				t.Errorf("exit status %d, %q, %q", status, &out, &errs)
			}
		})
	}
	if html, err := os.ReadFile(page); err != nil || !bytes.Contains(html, []byte("received SIGTERM")) {
		t.Errorf("page: %v\n%s", err, html)
	}
}
