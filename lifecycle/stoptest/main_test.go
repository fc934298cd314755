package stoptest

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(programs)
	goleak.VerifyTestMain(m)
}
