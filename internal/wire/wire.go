// Package wire holds the context keys through which the other packages find each
// other: the state of the signal hook, the gate that announces a stop, the drain
// that counts what is left to wait for, and the function that shows what a start
// waits for.
// A context keeps these values through [context.WithoutCancel].
package wire

import (
	"context"
	"time"
)

type key int

// The keys. A context type that answers one of them in its Value
// method spares a layer of context.WithValue.
const (
	StopKey   key = iota // a *Stop
	SoftKey              // a Soft
	CountsKey            // a Counts
	WaitKey              // a Waits
	UntilKey             // a time.Time
)

// A Stop is the state of a signal hook.
type Stop struct {
	Asked func() time.Time // when a stop was first asked for; zero while none was
	Force context.Context  // ends when it was asked for again
	Err   func() error     // of the hook's own context, which also an outer one may end
}

// StopOf returns the Stop in ctx, or one that never happens.
func StopOf(ctx context.Context) Stop {
	if s, ok := ctx.Value(StopKey).(*Stop); ok {
		return *s
	}
	none := context.Background()
	return Stop{Asked: func() time.Time { return time.Time{} }, Force: none, Err: none.Err}
}

// Soft is who announces a stop before it cancels anything.
type Soft interface {
	// Soft returns a context that ends when the stop is announced, and the one
	// that it announces the end of.
	Soft() (soft, owner context.Context)
}

// Counts is who wants to know how much a drain still waits for.
type Counts interface {
	// Count is called with what counts the work, which one key stands for.
	Count(key any, left func() int)
}

// Count tells the drain of ctx, if there is one, what counts the work that one
// of its steps waits for.
func Count(ctx context.Context, key any, left func() int) {
	if c, ok := ctx.Value(CountsKey).(Counts); ok {
		c.Count(key, left)
	}
}

// Until returns when the drain of ctx, if there is one, stops waiting for the work
// that ctx belongs to; else the zero time.
func Until(ctx context.Context) time.Time {
	until, _ := ctx.Value(UntilKey).(time.Time)
	return until
}

// Waits is called when a start waits: for what, and until when. If that is not
// known, until is the zero time, and the call is repeated every few seconds.
type Waits = func(what string, until time.Time)

// Wait tells the Waits in ctx, if there is one.
func Wait(ctx context.Context, what string, until time.Time) {
	if w, ok := ctx.Value(WaitKey).(Waits); ok && w != nil {
		w(what, until)
	}
}
