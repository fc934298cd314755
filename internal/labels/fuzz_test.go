package labels

import (
	"fmt"
	"reflect"
	"testing"
)

// The goroutine that receives the process's signals is of no owner, whatever its label.
func TestReaderSignals(t *testing.T) {
	const call = "# labels: {\"evenkeel\":\"/1a x\"}\n#\t0x1\t%s+0x1\t/a.go:20\n\n"
	r := reader{owner: "/1a"}
	for _, f := range []string{"os/signal.loop", "main.work", "os/signal.loop"} {
		fmt.Fprintf(&r, "1 @ 0x47b7ce\n"+call, f)
	}
	if r.end(); len(r.found) != 1 || r.found[0] != (Found{Name: "x", Count: 1, Stack: "main.work /a.go:20\n"}) {
		t.Errorf("%+v", r.found)
	}
}

// However a profile's text is cut into writes, the same goroutines are found. Each has
// a stack that its block had, and no text breaks the reader.
func FuzzReader(f *testing.F) {
	const profile = "goroutine profile: total 3\n" +
		"2 @ 0x47b7ce 0x40f1fd\n# labels: {\"evenkeel\":\"/1a/2b worker \\\"x\\\"\", \"other\":\"y\"}\n" +
		"#\t0x56bc3e\truntime.gopark+0x1e\t\t/go/src/runtime/proc.go:22\n#\t0x56bc3e\tmain.work+0x1e\t/src/main.go:22\n\n" +
		"1 @ 0x47b7ce\n# labels: {\"a\":\"b\", \"evenkeel\":\"/1a \"}\n#\t0x1\tos/signal.loop+0x1\t/go/src/os/signal/signal_unix.go:20\n\n" +
		"1 @ 0x1\n#\t0x1\tmain.main+0x1\t/src/main.go:1\n"
	for _, size := range []uint8{1, 7, 100} {
		f.Add(profile, size)
	}
	f.Add("# labels: {\"evenkeel\":\"/1a", uint8(3))
	f.Add("x @\n# labels: {\"evenkeel\":\"/1a\"}\n#\t\t+\t\n# labels: {}\n", uint8(2))
	f.Fuzz(func(t *testing.T, profile string, size uint8) {
		find := func(size int) []Found {
			r := reader{owner: "/1a"}
			for p := []byte(profile); len(p) > 0; {
				n, err := r.Write(p[:min(size, len(p))])
				if n == 0 || err != nil {
					t.Fatal(n, err)
				}
				clear(p[:n]) // a writer's buffer is not the reader's
				p = p[n:]
			}
			r.end()
			return r.found
		}
		whole, parts := find(len(profile)+1), find(int(size)+1)
		if !reflect.DeepEqual(whole, parts) {
			t.Fatalf("in one write %+v, in writes of %d bytes %+v", whole, int(size)+1, parts)
		}
	})
}
