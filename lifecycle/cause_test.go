package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// A drain knows why it began, also where no signal did.
func TestDrainCause(t *testing.T) {
	var log bytes.Buffer
	var seen error
	g := lifecycle.Group{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	g.Drain.Phases = []drain.Phase{{Name: "p", Steps: []drain.Step{{Name: "s", Stop: func(ctx context.Context) error {
		seen = ctx.Err()
		return nil
	}}}}}
	broken := errors.New("disk gone")
	g.Go("writer", func(context.Context) error { return broken })
	if err := g.Run(t.Context()); !errors.Is(err, broken) || seen != nil {
		t.Errorf("%v, and the step's context %v", err, seen)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "drain began") && !strings.Contains(line, `cause="lifecycle: task writer: disk gone"`) {
			t.Error(line)
		}
	}
}
