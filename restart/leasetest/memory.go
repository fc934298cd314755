// Package leasetest tests what implements restart.Register, and has a Register in
// memory for the tests of programs that use a restart.Lease.
package leasetest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/evenkeel-go/evenkeel/restart"
)

// A Memory is a restart.Register in the memory of one process. It suits
// testing/synctest. The zero Memory is empty and ready to use. It must not be copied.
// Its methods may be called concurrently.
type Memory struct {
	mu      sync.Mutex
	value   []byte
	version int
}

// Get implements restart.Register.
func (m *Memory) Get(ctx context.Context) (value []byte, version string, err error) {
	if ctx.Err() != nil {
		return nil, "", context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.value), m.name(), nil
}

// Set implements restart.Register.
func (m *Memory) Set(ctx context.Context, value []byte, version string) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.name(); version != now {
		return "", fmt.Errorf("leasetest: version %q, not %q: %w", now, version, restart.ErrChanged)
	}
	m.value = bytes.Clone(value)
	m.version++
	return m.name(), nil
}

func (m *Memory) name() string {
	if m.version == 0 {
		return ""
	}
	return strconv.Itoa(m.version)
}
