package timeline

import (
	"strings"
	"testing"
)

// Each row of the tables finds itself in its example, and takes out of it what it
// says; a literal of the rule is in it; the scan does not take it for dull.
func TestTables(t *testing.T) {
	tables, err := standard()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for i := range tables.rules {
		r := &tables.rules[i]
		if err := tables.try(r); err != nil {
			t.Error(err)
		}
		if names[r.Name] {
			t.Errorf("two rules %q", r.Name)
		}
		names[r.Name] = true
	}
	for i := range tables.formats {
		f := &tables.formats[i]
		l := new(line)
		for j := range tables.formats { // the first that matches counts
			if g := &tables.formats[j]; g.read(l, f.Example) != nil {
				if g != f {
					t.Errorf("the example of format %q is taken for %q", f.Name, g.Name)
				}
				break
			}
		}
		if f.Gives == "" || !strings.Contains(f.Gives, "msg=") && !strings.Contains(f.Gives, "rest=") {
			t.Errorf("format %q does not say what comes out of its example", f.Name)
		}
	}
	t.Logf("%d formats, %d rules", len(tables.formats), len(tables.rules))
}
