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

// The label keys. An owner's value is a path of ids, so that what is found
// below an owner includes what its descendants own.
const (
	Owner = "evenkeel.owner"
	Name  = "evenkeel.name"
)

// Own returns ctx labelled with a new owner below the one ctx has, and its path.
func Own(ctx context.Context) (context.Context, string) {
	above, _ := pprof.Label(ctx, Owner)
	owner := above + "/" + strconv.FormatUint(rand.Uint64(), 36)
	return pprof.WithLabels(ctx, pprof.Labels(Owner, owner)), owner
}

// Named returns ctx with a name for the goroutines that will run under it.
func Named(ctx context.Context, name string) context.Context {
	return pprof.WithLabels(ctx, pprof.Labels(Name, name))
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
		for _, v := range s.Label[Owner] {
			if v == owner || strings.HasPrefix(v, owner+"/") {
				found = append(found, Found{strings.Join(s.Label[Name], " "), int(s.Value[0]), stack(s)})
				break
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Count, a.Count))
	})
	return found, nil
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
