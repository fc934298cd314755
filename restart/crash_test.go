package restart

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// What is recorded of a crash output is one line that fits.
func TestCrashLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"panic: oh\n\ngoroutine 1": "panic: oh",
		"a\tb\x1b[31m":             "a b [31m",
	} {
		if got := firstLine(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	long := firstLine(strings.Repeat("ü", 200))
	if len(long) > mostCrash || len(long) < mostCrash-1 || !utf8.ValidString(long) {
		t.Errorf("%d bytes: %q", len(long), long)
	}
	r := record{seq: 1, run: 1, late: late{again: 3, over: 4, crash: long}}
	if got, _ := decode(r.encode()); got != r {
		t.Errorf("read back as %+v", got)
	}
}

// Only the crash output of the run that died is read, and what is not one is left alone.
func TestCrashForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	run, other := record{run: 7}, record{run: 8}
	write := func(text string) {
		if err := os.WriteFile(path+crashSuffix, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(crashTitle(run) + "panic: oh\n" + strings.Repeat("x", 1<<20))
	if text := readCrash(path, run); !strings.HasPrefix(text, "panic: oh\n") || len(text) > crashHead {
		t.Errorf("%d bytes", len(text))
	}
	if text := readCrash(path, other); text != "" {
		t.Errorf("of another run: %.40q", text)
	}
	write("notes")
	if err := setCrash(path, run); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Error(err)
	}
	if b, err := os.ReadFile(path + crashSuffix); err != nil || !bytes.Equal(b, []byte("notes")) {
		t.Error(string(b), err)
	}
	if err := os.Remove(path + crashSuffix); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+crashSuffix, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := setCrash(path, run); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Error(err)
	}
	if readCrash(path, run) != "" {
		t.Error("a directory has a crash output")
	}
}
