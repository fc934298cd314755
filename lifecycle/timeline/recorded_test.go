package timeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// outcome is a timeline as the recordings' tables have it: a line for each event,
// with its place, and the places and kinds of its causes.
func outcome(t *testing.T, tl *Timeline) string {
	t.Helper()
	var b bytes.Buffer
	if err := tl.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var out struct {
		Events []struct {
			ID, Line      int
			Kind, Process string
			Signal        string
			Causes        []struct {
				Event int
				By    string
			}
		}
		Chains []struct {
			Root, Failures, Lost int
			Explained            bool
		}
	}
	if err := json.Unmarshal(b.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	line := map[int]int{}
	roots := map[int]string{}
	for _, e := range out.Events {
		line[e.ID] = e.Line
	}
	for _, c := range out.Chains {
		roots[c.Root] = " root"
		if !c.Explained {
			roots[c.Root] = " root, no line says why"
		}
	}
	var s strings.Builder
	for _, e := range out.Events {
		fmt.Fprintf(&s, "%d %s of %s", e.Line, e.Kind, e.Process)
		if e.Signal != "" {
			fmt.Fprintf(&s, " (%s)", e.Signal)
		}
		s.WriteString(roots[e.ID])
		for _, c := range e.Causes {
			fmt.Fprintf(&s, " <- %d by %s", line[c.Event], c.By)
		}
		s.WriteString("\n")
	}
	return s.String()
}

// Programs of Debian's packages were killed on purpose while they ran; what was
// done to each was written down before its log was looked at, and stands above the
// events in its table.
func TestRecorded(t *testing.T) {
	logs, err := filepath.Glob("testdata/recorded/*.log")
	if err != nil || len(logs) < 20 {
		t.Fatalf("%d recordings: %v", len(logs), err)
	}
	for _, name := range logs {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".log"), func(t *testing.T) {
			log, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			table := strings.TrimSuffix(name, ".log") + ".want"
			want, err := os.ReadFile(table)
			if err != nil {
				t.Fatal(err)
			}
			done, events, ok := strings.Cut(string(want), "\n\n")
			got := outcome(t, Read(Input{Name: strings.TrimSuffix(filepath.Base(name), ".log"), Reader: bytes.NewReader(log)}))
			if *update {
				if err := os.WriteFile(table, []byte(done+"\n\n"+got), 0o666); err != nil {
					t.Fatal(err)
				}
			} else if !ok || got != events {
				t.Errorf("%s\n%swant\n%s", done, got, events)
			}
		})
	}
}
