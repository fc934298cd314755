package stoptest

import (
	"slices"
	"strings"
	"testing"
)

// Run calls Check, and makes each broken promise a failing subtest with its findings. It
// may run beside parallel tests. With the flag -short it does nothing but skip.
func Run(t *testing.T, p Program) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: it starts and stops a program many times, and -short is set")
	}
	if p.Progress == nil {
		p.Progress = t.Output()
	}
	result, err := Check(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := result.writeTables(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	for _, j := range result.Judgments {
		if j.Verdict == NotTried {
			continue
		}
		t.Run(string(j.Promise), func(t *testing.T) {
			found := slices.DeleteFunc(slices.Clone(result.Findings), func(f Finding) bool { return f.Promise != j.Promise })
			for _, f := range found {
				t.Error("\n" + f.String())
			}
		})
	}
}
