package lifecycle

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// VerifyNone makes t fail if goroutines that the test started are left at its
// end: tasks, streams, and whatever was started by a bare go, at any depth. It
// waits half a second for them to end. Call it first in the test, and give the
// context it returns, which is t's with a label, to the groups and streams under
// test.
//
// It is right beside t.Parallel and in a test with subtests, as it looks for
// the test's own goroutines; goleak looks at all of the process, sees also what
// labels miss, and belongs in TestMain. Labels miss a goroutine that has never
// run yet, one that a timer started (time.AfterFunc), one started under another
// context that sets labels, and one that a package started earlier for all.
//
// A *testing.T is a t.
func VerifyNone(t interface {
	Context() context.Context
	Cleanup(func())
	Errorf(format string, args ...any)
}) context.Context {
	owner := labels.Path(t.Context())
	ctx := labels.With(t.Context(), owner, "")
	labels.Set(ctx)
	t.Cleanup(func() {
		labels.Set(context.Background()) // the test's own goroutine is no leak
		if left := settled(owner); left != "" {
			t.Errorf("lifecycle: goroutines left:\n%s", left)
		}
	})
	return ctx
}

// settled returns what is left below owner after half a second at most.
func settled(owner string) string {
	var found []labels.Found
	var err error
	for wait := time.Duration(0); wait < 300*time.Millisecond; wait = 2*wait + time.Millisecond {
		time.Sleep(wait)
		if found, err = labels.Below(owner); err == nil && len(found) == 0 {
			return ""
		}
	}
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%d %s\n%s\n", f.Count, f.Name, f.Stack)
	}
	return b.String()
}
