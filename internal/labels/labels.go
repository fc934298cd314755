// Package labels runs functions in goroutines that can be found again: by
// profiler labels, which every goroutine inherits from the one that started it.
package labels

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"

	"github.com/google/pprof/profile"
)

// key is the label. Its value is the path of an owner's ids, so that what is
// found below an owner includes what its descendants own, a space, and a name.
// It is one label, as a second would double the cost of making them.
const key = "evenkeel"

// Path returns the path of a new owner below the one that ctx is labelled with.
func Path(ctx context.Context) string {
	above, _ := of(ctx)
	var buf [64]byte
	path := append(append(buf[:0], above...), '/')
	return string(strconv.AppendUint(path, rand.Uint64(), 32))
}

// With returns ctx with the label for goroutines of an owner. An empty name
// leaves the one that ctx has.
func With(ctx context.Context, owner, name string) context.Context {
	if name == "" {
		_, name = of(ctx)
	}
	return pprof.WithLabels(ctx, pprof.Labels(key, owner+" "+name))
}

func of(ctx context.Context) (owner, name string) {
	v, _ := pprof.Label(ctx, key)
	owner, name, _ = strings.Cut(v, " ")
	return owner, name
}

// Set labels the calling goroutine, and so all that it starts, as ctx says.
func Set(ctx context.Context) { pprof.SetGoroutineLabels(ctx) }

// A Found is a number of goroutines with one name that stand at one place.
type Found struct {
	Name  string
	Count int
	Stack string // a line for each call, innermost first: function file:line
}

// Below lists the goroutines that bear owner's label or one below it.
// It reads the goroutine profile, about 2 µs for each goroutine of the
// process; a goroutine that never ran yet has no label and is missed.
func Below(owner string) ([]Found, error) {
	var buf bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&buf, 0); err != nil {
		return nil, fmt.Errorf("goroutine profile: %w", err)
	}
	p, err := profile.ParseData(buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("goroutine profile: %w", err)
	}
	var found []Found
	for _, s := range p.Sample {
		path, name, _ := strings.Cut(strings.Join(s.Label[key], ""), " ")
		if (path == owner || strings.HasPrefix(path, owner+"/")) && !forAll(s) {
			found = append(found, Found{name, int(s.Value[0]), stack(s)})
		}
	}
	slices.SortStableFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Count, a.Count))
	})
	return found, nil
}

// forAll reports whether it is the one goroutine that takes the process's
// signals: it bears the label of whoever first asked for any.
func forAll(s *profile.Sample) bool {
	if len(s.Location) == 0 {
		return false
	}
	for _, l := range s.Location[len(s.Location)-1].Line {
		if l.Function != nil && l.Function.Name == "os/signal.loop" {
			return true
		}
	}
	return false
}

// stack leaves out the runtime's own calls at the top: where a goroutine parks
// says less than who made it wait.
func stack(s *profile.Sample) string {
	var b strings.Builder
	for _, loc := range s.Location {
		for _, l := range loc.Line {
			if l.Function == nil || b.Len() == 0 && strings.HasPrefix(l.Function.Name, "runtime.") {
				continue
			}
			fmt.Fprintf(&b, "%s %s:%d\n", path.Base(l.Function.Name), l.Function.Filename, l.Line)
		}
	}
	return b.String()
}
