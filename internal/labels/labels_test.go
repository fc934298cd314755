package labels_test

import (
	"context"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/drain"
	. "github.com/evenkeel-go/evenkeel/internal/labels"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A planted goroutine is found below its owner and the owner above, with those
// it started by a bare go, and nowhere else.
func TestBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outerPath, otherPath := Path(t.Context()), Path(t.Context())
		innerPath := Path(With(t.Context(), outerPath, "outer"))
		free := make(chan struct{})
		go func() {
			// A label of the program's own stands beside it.
			ctx := pprof.WithLabels(t.Context(), pprof.Labels("a", `"evenkeel":"/x y", "evenkeel":"/x y"`, "route", "/y\t\n"))
			Set(With(ctx, innerPath, "planted"))
			for range 2 {
				go parked(free)
			}
			parked(free)
		}()
		synctest.Wait()
		for path, want := range map[string]int{outerPath: 3, innerPath: 3, otherPath: 0, outerPath[:len(outerPath)-1]: 0, "": 0, "/x": 0} {
			found, err := Below(path)
			n := 0
			for _, f := range found {
				if n += f.Count; f.Name != "planted" || f.Own {
					t.Errorf("name %q, own %v", f.Name, f.Own)
				}
				if !strings.HasPrefix(f.Stack, "labels_test.parked ") || !strings.Contains(f.Stack, "labels_test.go:") {
					t.Errorf("stack:\n%s", f.Stack)
				}
			}
			if n != want || err != nil {
				t.Errorf("below %s: %d goroutines, %v; want %d", path, n, err, want)
			}
		}
		close(free)
	})
}

func parked(free chan struct{}) { <-free }

// A goroutine that waits inside this library is shown at its own code's call. If it
// has none, it is marked. The profile does not show its own goroutine.
func TestBelowOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g drain.Gate
		g.Enter()
		path := Path(t.Context())
		go func() { Set(With(t.Context(), path, "direct")); waits[struct{ a, b int }](t.Context(), &g) }()
		go func() { Set(With(t.Context(), path, "bare")); go g.Drain(t.Context()) }()
		synctest.Wait()
		Set(With(t.Context(), path, "caller"))
		found, err := Below(path)
		Set(context.Background())
		var got []string
		for _, f := range found {
			top, _, _ := strings.Cut(f.Stack, " ")
			if f.Own {
				top = top[:strings.LastIndex(top, ".")] // whichever of its methods it is
			}
			got = append(got, fmt.Sprint(f.Name, " ", top, " ", f.Own))
		}
		want := []string{"bare drain.(*Gate) true", "caller labels_test.TestBelowOwn.func1 false", "direct labels_test.waits[...] false"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
		}
		g.Leave()
	})
}

func waits[T any](ctx context.Context, g *drain.Gate) { g.Drain(ctx) }

// Goroutines of one function and one owner make one label.
func TestPathOf(t *testing.T) {
	owner := With(t.Context(), Path(t.Context()), "owner")
	var paths []string
	for n := range 2 {
		f := func() int { return n }
		paths = append(paths, PathOf(owner, f), PathOf(owner, parked), PathOf(t.Context(), f))
	}
	if !slices.Equal(paths[:3], paths[3:]) || len(slices.Compact(slices.Sorted(slices.Values(paths)))) != 3 {
		t.Errorf("a path is not that of owner and function: %q", paths)
	}
}

// Goroutines of one name are listed by their places, the most frequent first. A label
// without a name keeps the one above.
func TestBelowOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer := Path(t.Context())
		ctx := With(t.Context(), outer, "above")
		ctx = With(ctx, Path(ctx), Name(ctx))
		free := make(chan struct{})
		for i := range 5 {
			go func() {
				if Set(ctx); i < 2 {
					<-free
				} else {
					parked(free)
				}
			}()
		}
		synctest.Wait()
		found, err := Below(outer)
		if err != nil || len(found) != 2 || found[0].Count != 3 || found[1].Count != 2 || found[0].Name != "above" || found[1].Name != "above" {
			t.Errorf("%+v, %v", found, err)
		}
		close(free)
	})
}
