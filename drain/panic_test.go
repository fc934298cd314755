package drain_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A caller that imports drain alone can tell a panic of a step from a failure.
func TestPanicError(t *testing.T) {
	plan := drain.Plan{Phases: []drain.Phase{{Name: "db", Steps: []drain.Step{{Name: "db", Stop: func(context.Context) error { panic("closed twice") }}}}}}
	for _, log := range []*slog.Logger{nil, slog.New(slog.DiscardHandler)} {
		plan.Logger = log
		_, err := plan.Run(t.Context())
		var p *drain.PanicError
		if !errors.As(err, &p) || p.Value != "closed twice" || !strings.Contains(string(p.Stack), "TestPanicError") || p.Logged != (log != nil) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
