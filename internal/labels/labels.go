// Package labels finds the goroutines of an owner. Each has a profiler label, which it
// inherits from the goroutine that started it.
package labels

import (
	"context"
	"math/rand/v2"
	"reflect"
	"runtime/pprof"
	"strconv"
	"strings"
)

// key is the label's key. Its value is the owner's path, a space, and a name. The path
// begins with the path of the owner above, so a search below an owner also finds
// what its descendants own. A second label would double the cost.
const key = "evenkeel"

// Path returns the path of a new owner below the one that ctx is labelled with.
func Path(ctx context.Context) string { return below(ctx, rand.Uint64()) }

// PathOf returns the path of the function f below the owner that ctx is labelled with.
// It is the same each time. So all goroutines that run f have one label, as a
// goroutine profile takes memory for each distinct label.
func PathOf(ctx context.Context, f any) string {
	return below(ctx, uint64(reflect.ValueOf(f).Pointer()))
}

func below(ctx context.Context, id uint64) string {
	above, _ := of(ctx)
	var buf [64]byte
	path := append(append(buf[:0], above...), '/')
	return string(strconv.AppendUint(path, id, 32))
}

// Name returns the name that ctx is labelled with, or "".
func Name(ctx context.Context) string {
	_, name := of(ctx)
	return name
}

// With returns ctx with the label for goroutines of an owner.
func With(ctx context.Context, owner, name string) context.Context {
	return pprof.WithLabels(ctx, pprof.Labels(key, owner+" "+name))
}

func of(ctx context.Context) (owner, name string) {
	v, _ := pprof.Label(ctx, key)
	owner, name, _ = strings.Cut(v, " ")
	return owner, name
}

// Set gives the calling goroutine, and so all that it starts, the labels of ctx.
func Set(ctx context.Context) { pprof.SetGoroutineLabels(ctx) }
