package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Arguments that the command cannot use give status 2, an error and no output. With
// good ones the input is read: the status is 0, or 1 with an error for each line that
// could not be read.
func FuzzTimeline(f *testing.F) {
	f.Add("Europe/Berlin", "", stop+cut, true)
	f.Add("+02:00", `{"rules":[]}`, "junk\n", false)
	f.Add("../x", `{"rules":[{"name":"x"}]}`, `{"msg":`, false)
	f.Add("", `{"formats":null}`, "", true)
	f.Fuzz(func(t *testing.T, zone, rules, log string, asJSON bool) {
		args := []string{"timeline", "-zone", zone}
		if rules != "" {
			name := filepath.Join(t.TempDir(), "rules.json")
			if err := os.WriteFile(name, []byte(rules), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, "-rules", name)
		}
		if asJSON {
			args = append(args, "-json")
		}
		var out, errs bytes.Buffer
		status := run(args, strings.NewReader(log), &out, &errs)
		said := strings.HasPrefix(errs.String(), "evenkeel timeline: ")
		if status < 0 || status > 2 || (status == 0) == said || (status == 2) == (out.Len() > 0) {
			t.Errorf("status %d, %d bytes of output, errors %q", status, out.Len(), errs.String())
		}
	})
}

// Whatever a file holds, the ledger's table of it is shown or one error is.
func FuzzLedger(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0}, 16384))
	f.Add(append([]byte("\x00evkeel\x01"), make([]byte, 16376)...))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "ledger")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		status := run([]string{"ledger", name}, nil, &out, &errs)
		if (status == 0) != (errs.Len() == 0) || status > 1 || (status == 1) == strings.HasPrefix(out.String(), "BEGAN ") {
			t.Errorf("status %d, output %q, errors %q", status, out.String(), errs.String())
		}
	})
}
