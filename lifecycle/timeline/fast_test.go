package timeline

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
// timeline comes out, byte for byte, if all are. The lines are recorded ones, a few
// bytes of one are replaced. The arguments are numbers, as text would be minimized
// each time that it reaches new code, and that would take all the time there is.
func FuzzFast(f *testing.F) {
	names, _ := filepath.Glob("testdata/recorded/*.log")
	var lines []string
	for _, name := range append(names, "testdata/before.jsonl", "testdata/journal.json", "testdata/ordinary.log") {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimSpace(string(b)), "\n")...)
	}
	f.Add(uint16(1), uint16(2), uint16(3), uint16(4), uint16(0), uint8(1), byte('x'))
	f.Add(uint16(500), uint16(500), uint16(90), uint16(800), uint16(40), uint8(9), byte('{'))
	f.Fuzz(func(t *testing.T, i, j, k, n, at uint16, size uint8, by byte) {
		line := func(i uint16) string { return lines[int(i)%len(lines)] }
		spoiled := line(j)
		from := int(at) % (len(spoiled) + 1)
		spoiled = spoiled[:from] + string(by) + spoiled[min(len(spoiled), from+int(size%32)):]
		a, b := line(i)+"\n"+spoiled+"\n"+line(k)+"\n", line(n)+"\n2026/05/20 10:00:00 x\npanic: y\n"
		if fast, full := outputs(t, false, a, b), outputs(t, true, a, b); fast != full {
			t.Fatalf("of\n%s\nfast\n%s\nfull\n%s", a, fast, full)
		}
	})
}

// The same for logs that are mixed and spoiled at random, but repeatably.
func TestMutated(t *testing.T) {
	names, _ := filepath.Glob("testdata/recorded/*.log")
	var logs [][]byte
	for _, name := range append(names, "testdata/before.jsonl", "testdata/journal.json", "testdata/ordinary.log") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, b[:min(len(b), 4000)])
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		a, b := slices.Clone(logs[r.IntN(len(logs))]), logs[r.IntN(len(logs))]
		for range 1 + r.IntN(8) {
			at, from := r.IntN(len(a)), r.IntN(len(b))
			switch r.IntN(4) {
			case 0:
				a[at] = byte(r.IntN(256))
			case 1:
				a[at] = '\n'
			case 2:
				a = append(slices.Delete(a, at, min(len(a), at+r.IntN(60))), 'x')
			case 3:
				a = slices.Insert(a, at, b[from:min(len(b), from+r.IntN(300))]...)
			}
		}
		const other = "2026/05/20 10:00:00 x\npanic: y\n"
		if fast, full := outputs(t, false, string(a), other), outputs(t, true, string(a), other); fast != full {
			t.Fatalf("of\n%s\nfast\n%s\nfull\n%s", a, fast, full)
		}
	}
}

// Ordinary lines are no events, however often they come.
func TestOrdinary(t *testing.T) {
	b, err := os.ReadFile("testdata/ordinary.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if tl := Read(Input{"log", strings.NewReader(line + "\n")}); len(tl.chains) > 0 {
			t.Errorf("%s: %s of %q", tl.chains[0].Events[0].Kind, tl.chains[0].Events[0].rule, line)
		}
	}
	tl := Read(Input{"log", strings.NewReader(strings.Repeat(string(b), 10000/strings.Count(string(b), "\n")+1))})
	if tl.lines < 10000 || len(tl.chains) > 0 {
		t.Errorf("%d lines, %d chains", tl.lines, len(tl.chains))
	}
}
