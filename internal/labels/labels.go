// Package labels runs functions in goroutines that can be found again: by
// profiler labels, which every goroutine inherits from the one that started it.
package labels

import (
	"context"
	"math/rand/v2"
	"reflect"
	"runtime/pprof"
	"strconv"
	"strings"
)

// key is the label. Its value is the path of an owner's ids, so that what is
// found below an owner includes what its descendants own, a space, and a name.
// It is one label, as a second would double the cost of making them.
const key = "evenkeel"

// Path returns the path of a new owner below the one that ctx is labelled with.
func Path(ctx context.Context) string { return below(ctx, rand.Uint64()) }

// PathOf returns the path of the function f below the owner that ctx is labelled
// with. It is the same path each time, so that any number of goroutines that run f
// make one label: a goroutine profile takes memory for each distinct label.
func PathOf(ctx context.Context, f any) string {
	return below(ctx, uint64(reflect.ValueOf(f).Pointer()))
}

func below(ctx context.Context, id uint64) string {
	above, _ := of(ctx)
	var buf [64]byte
	path := append(append(buf[:0], above...), '/')
	return string(strconv.AppendUint(path, id, 32))
}

// With returns ctx with the label for goroutines of an owner. An empty name
// leaves the one that ctx has.
func With(ctx context.Context, owner, name string) context.Context {
	if name == "" {
		_, name = of(ctx)
	}
	return pprof.WithLabels(ctx, pprof.Labels(key, owner+" "+name))
}

func of(ctx context.Context) (owner, name string) {
	v, _ := pprof.Label(ctx, key)
	owner, name, _ = strings.Cut(v, " ")
	return owner, name
}

// Set labels the calling goroutine, and so all that it starts, as ctx says.
func Set(ctx context.Context) { pprof.SetGoroutineLabels(ctx) }
