package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

// passing says itself that a restart may mend it.
type passing struct{}

func (passing) Error() string   { return "passing" }
func (passing) Permanent() bool { return false }

func TestExitCode(t *testing.T) {
	defaultLog(t)
	broken := restart.Permanent(errors.New("no such table"))
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{context.Canceled, 1},
		{passing{}, 1},
		{broken, 78},
		{fmt.Errorf("open: %w", broken), 78},
		{errors.Join(passing{}, errors.New("other"), fmt.Errorf("open: %w", broken)), 78},
	} {
		if got := lifecycle.ExitCode(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
}
