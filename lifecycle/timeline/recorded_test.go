package timeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func outcome(t *testing.T, tl *Timeline) string { return placed(t, tl, false) }

// placed is a timeline as the recordings' tables have it: a line for each event,
// with its place, its input too if there are several, and the places and kinds of its causes.
func placed(t *testing.T, tl *Timeline, several bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := tl.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var out struct {
		Events []struct {
			ID, Line      int
			Input         string
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
	line := map[int]string{}
	roots := map[int]string{}
	for _, e := range out.Events {
		if line[e.ID] = strconv.Itoa(e.Line); several {
			line[e.ID] = e.Input + ":" + line[e.ID]
		}
	}
	for _, c := range out.Chains {
		roots[c.Root] = " root"
		if !c.Explained {
			roots[c.Root] = " root, no line says why"
		}
	}
	var s strings.Builder
	for _, e := range out.Events {
		fmt.Fprintf(&s, "%s %s of %s", line[e.ID], e.Kind, e.Process)
		if e.Signal != "" {
			fmt.Fprintf(&s, " (%s)", e.Signal)
		}
		s.WriteString(roots[e.ID])
		for _, c := range e.Causes {
			fmt.Fprintf(&s, " <- %s by %s", line[c.Event], c.By)
		}
		s.WriteString("\n")
	}
	return s.String()
}

// Programs of Debian's packages were killed on purpose while they ran; what was
// done to each was written down before its log was looked at, and stands above the
// events in its table.
func TestRecorded(t *testing.T) {
	tables, err := filepath.Glob("testdata/recorded/*.want")
	if err != nil || len(tables) < 20 {
		t.Fatalf("%d recordings: %v", len(tables), err)
	}
	for _, table := range tables {
		t.Run(strings.TrimSuffix(filepath.Base(table), ".want"), func(t *testing.T) {
			logs, err := filepath.Glob(strings.TrimSuffix(table, ".want") + "/*.log") // of several programs
			if err != nil {
				t.Fatal(err)
			}
			if len(logs) == 0 {
				logs = []string{strings.TrimSuffix(table, ".want") + ".log"}
			}
			var inputs []Input
			for _, name := range logs {
				log, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				inputs = append(inputs, Input{Name: baseName(name), Reader: bytes.NewReader(log)})
			}
			want, err := os.ReadFile(table)
			if err != nil {
				t.Fatal(err)
			}
			done, events, ok := strings.Cut(string(want), "\n\n")
			got := placed(t, Read(inputs...), len(inputs) > 1)
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
