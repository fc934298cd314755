package timeline

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// outputs reads logs, and returns all that is written of them.
func outputs(t *testing.T, full bool, logs ...string) string {
	t.Helper()
	var inputs []Input
	for i, log := range logs {
		inputs = append(inputs, Input{string(rune('a' + i)), strings.NewReader(log)})
	}
	tl, err := Options{full: full}.Read(inputs...)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tl.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if err := tl.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The lines that are not taken apart would have made no difference: the same
// timeline comes out, byte for byte, if all are.
func FuzzFast(f *testing.F) {
	names, _ := filepath.Glob("testdata/recorded/*.log")
	for _, name := range append(names, "testdata/before.jsonl", "testdata/journal.json", "testdata/ordinary.log") {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b[:min(len(b), 4000)]), "2026/05/20 10:00:00 x\npanic: y\n")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if fast, full := outputs(t, false, a, b), outputs(t, true, a, b); fast != full {
			for i, l := range strings.Split(fast, "\n") {
				if other := strings.Split(full, "\n"); i >= len(other) || other[i] != l {
					t.Fatalf("line %d: %q, and in full %q", i, l, other[min(i, len(other)-1)])
				}
			}
			t.Error("in full there is more")
		}
	})
}

// Ordinary lines are no events, however often they come.
func TestOrdinary(t *testing.T) {
	b, err := os.ReadFile("testdata/ordinary.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if tl := Read(Input{"log", strings.NewReader(line + "\n")}); len(tl.Chains) > 0 {
			t.Errorf("%s: %s of %q", tl.Chains[0].Events[0].Kind, tl.Chains[0].Events[0].rule, line)
		}
	}
	tl := Read(Input{"log", strings.NewReader(strings.Repeat(string(b), 10000/strings.Count(string(b), "\n")+1))})
	if tl.Lines < 10000 || len(tl.Chains) > 0 {
		t.Errorf("%d lines, %d chains", tl.Lines, len(tl.Chains))
	}
}
