package leasetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/restart"
	"github.com/evenkeel-go/evenkeel/restart/leasetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func registers(wrap func(*leasetest.Memory) restart.Register) func(*testing.T, string) restart.Register {
	all := map[string]*leasetest.Memory{}
	return func(_ *testing.T, name string) restart.Register {
		if all[name] == nil {
			all[name] = &leasetest.Memory{}
		}
		return wrap(all[name])
	}
}

func TestMemory(t *testing.T) {
	leasetest.Test(t, registers(func(m *leasetest.Memory) restart.Register { return m }))
}

// A broken Register is a Memory with one promise broken.
type broken struct {
	*leasetest.Memory
	how string
}

func (b broken) Get(ctx context.Context) ([]byte, string, error) {
	switch b.how {
	case "ended":
		ctx = context.WithoutCancel(ctx)
	}
	value, version, err := b.Memory.Get(ctx)
	switch {
	case b.how == "empty" && version == "":
		err = errors.New("no such key")
	case b.how == "values" && len(value) > 100:
		value = value[:100]
	}
	return value, version, err
}

func (b broken) Set(ctx context.Context, value []byte, version string) (string, error) {
	if b.how == "changed" || b.how == "together" && strings.Contains(string(value), "1") {
		_, version, _ = b.Memory.Get(ctx)
	}
	next, err := b.Memory.Set(ctx, value, version)
	if b.how == "versions" {
		next = "constant"
	}
	return next, err
}

// Test fails for each promise that a Register breaks. It runs in a child process.
func TestBroken(t *testing.T) {
	if how := os.Getenv("EVENKEEL_BROKEN"); how != "" {
		leasetest.Test(t, registers(func(m *leasetest.Memory) restart.Register { return broken{m, how} }))
		return
	}
	for _, how := range []string{"empty", "values", "changed", "versions", "ended", "together"} {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$", "-test.v")
		c.Env = append(os.Environ(), "EVENKEEL_BROKEN="+how)
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "FAIL: TestBroken/"+how+" ") {
			t.Errorf("%s: not noticed: %v\n%s", how, err, out)
		}
	}
}
