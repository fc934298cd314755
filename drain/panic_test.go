package drain_test

import (
	"context"
	"errors"
	"testing"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A caller that imports drain alone can tell a panic of a step from a failure.
func TestPanicError(t *testing.T) {
	plan := drain.Plan{Phases: []drain.Phase{{Name: "db", Steps: []drain.Step{{Name: "db", Stop: func(context.Context) error { panic("closed twice") }}}}}}
	_, err := plan.Run(t.Context())
	var p *drain.PanicError
	if !errors.As(err, &p) || p.Value != "closed twice" || len(p.Stack) == 0 {
		t.Errorf("%v", err)
	}
}
