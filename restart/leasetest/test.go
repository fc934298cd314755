package leasetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/restart"
)

// Test checks that a restart.Register keeps its contract. open returns one that was
// never set. If it is called again with the same name, it must return another client of
// the same value, as a second process has it.
//
//	func TestRegister(t *testing.T) {
//		leasetest.Test(t, func(t *testing.T, name string) restart.Register {
//			return restart.Postgres(db, "leases", name)
//		})
//	}
//
// Names consist of letters, digits and hyphens, and differ within one run of a test.
// Each call to the Register has 30 s.
func Test(t *testing.T, open func(t *testing.T, name string) restart.Register) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, a, b client)
	}{
		{"empty", empty},
		{"values", values},
		{"changed", changed},
		{"versions", versions},
		{"ended", ended},
		{"together", together},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := "leasetest-" + tt.name
			tt.test(t, client{t, open(t, name)}, client{t, open(t, name)})
		})
	}
}

type client struct {
	t *testing.T
	restart.Register
}

func (c client) get() (string, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	value, version, err := c.Get(ctx)
	if err != nil {
		c.t.Fatalf("Get: %v", err)
	}
	return string(value), version
}

func (c client) try(value, version string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	return c.Set(ctx, []byte(value), version)
}

func (c client) set(value, version string) string {
	c.t.Helper()
	next, err := c.try(value, version)
	if err != nil {
		c.t.Fatalf("Set over version %q: %v", version, err)
	}
	return next
}

// has waits until the client sees the value: a replica may be late.
func (c client) has(value, version string) {
	c.t.Helper()
	var v, at string
	for range 100 {
		if v, at = c.get(); v == value && at == version {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Errorf("Get returns %.40q, version %q; want %.40q, version %q", v, at, value, version)
}

// A value that was never set has the version "", and is no error.
func empty(t *testing.T, a, _ client) {
	if value, version := a.get(); value != "" || version != "" {
		t.Errorf("a value that was never set is %q, version %q", value, version)
	}
}

// What one client set, the other one gets, with the version that Set returned.
func values(t *testing.T, a, b client) {
	version := ""
	for _, value := range []string{"one", `{"json": true}`, "ümläut\nand line", "", string(bytes.Repeat([]byte("long"), 1000))} {
		version = a.set(value, version)
		if version == "" {
			t.Fatal(`Set returned the version "", which means never set`)
		}
		b.has(value, version)
	}
}

// A Set over another version fails with ErrChanged, and changes nothing.
func changed(t *testing.T, a, b client) {
	refused := func(c client, version string) {
		t.Helper()
		if _, err := c.try("refused", version); !errors.Is(err, restart.ErrChanged) {
			t.Errorf("Set over version %q: %v, want ErrChanged", version, err)
		}
	}
	first := a.set("first", "")
	refused(b, "")
	b.has("first", first)
	second := b.set("second", first)
	refused(a, first)
	refused(a, "")
	a.has("second", second)
}

// No version is used twice, even if the value is the same again.
func versions(t *testing.T, a, b client) {
	seen := map[string]bool{}
	version := ""
	for i := range 20 {
		c := a
		if i%2 == 1 {
			c = b
		}
		version = c.set("same", version)
		if seen[version] {
			t.Fatalf("version %q is used twice", version)
		}
		seen[version] = true
	}
}

// A call whose context has ended returns an error, and soon.
func ended(t *testing.T, a, _ client) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	if _, _, err := a.Get(ctx); err == nil {
		t.Error("Get returns no error, though its context has ended")
	}
	if _, err := a.Set(ctx, []byte("late"), ""); err == nil || errors.Is(err, restart.ErrChanged) {
		t.Errorf("Set returns %v, though its context has ended", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("calls with an ended context took %v", took)
	}
}

// Of Sets over the same version, exactly one succeeds.
func together(t *testing.T, a, b client) {
	version := ""
	for round := range 20 {
		var won atomic.Int32
		var next string
		var all sync.WaitGroup
		for i := range 8 {
			c := a
			if i%2 == 1 {
				c = b
			}
			all.Go(func() {
				v, err := c.try(fmt.Sprint(round, " ", i), version)
				switch {
				case err == nil:
					won.Add(1)
					next = v // a second one is an error anyway
				case !errors.Is(err, restart.ErrChanged):
					t.Errorf("Set: %v", err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d of 8 concurrent Sets over one version succeeded", round, won.Load())
		}
		version = next
	}
}
