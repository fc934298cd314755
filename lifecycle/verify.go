package lifecycle

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
)

// TestingT is the part of a *testing.T that [VerifyNone] needs.
type TestingT interface {
	Context() context.Context
	Cleanup(func())
	Errorf(format string, args ...any)
}

// VerifyNone fails the test t if goroutines that it started are left at its end:
// tasks, streams, and what they or the test started by a bare go. It gives them half
// a second to end. Call it first in the test, and pass the context it returns to the
// groups and streams under test. That is t's context with a profiler label, which
// goroutines inherit.
//
// VerifyNone looks for the test's own goroutines only, so it works in parallel tests
// and with subtests. It misses a goroutine
//   - that has not run yet
//   - that a timer started, as time.AfterFunc does
//   - that was started under another context that sets labels
//   - that a package started earlier, for all its users
//
// goleak sees those too, as it looks at the whole process. Use goleak in TestMain.
func VerifyNone(t TestingT) context.Context {
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

// settled waits until no goroutine is left below owner, for half a second at most.
// It lists those that are left.
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
