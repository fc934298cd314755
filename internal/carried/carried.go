// Package carried is what contexts and errors carry between packages that do not
// import each other. A context carries when a stop was requested, who announces it,
// who counts the work that is left, and who wants to know that a start waits. An
// error carries that a restart cannot mend it.
//
// A context keeps these values through [context.WithoutCancel].
package carried

import (
	"context"
	"time"
)

type key int

// The keys. Some context types answer one in their Value method, which saves a layer of
// context.WithValue.
const (
	StopKey   key = iota // a *Stop
	SoftKey              // a Soft
	CountsKey            // a Counts
	WaitKey              // a Waits
	UntilKey             // a time.Time
)

// A Stop is the state of a signal hook.
type Stop struct {
	Asked func() time.Time // when a stop was first requested; zero before that
	Force context.Context  // ends at the second request
	Err   func() error     // the Err of the hook's context, which may end without a request
}

// StopOf returns the Stop in ctx, or one that never happens.
func StopOf(ctx context.Context) Stop {
	if s, ok := ctx.Value(StopKey).(*Stop); ok {
		return *s
	}
	none := context.Background()
	return Stop{Asked: func() time.Time { return time.Time{} }, Force: none, Err: none.Err}
}

// A Soft announces a stop before it cancels anything.
type Soft interface {
	// Soft returns a context that ends when the stop is announced, and the owner,
	// which is the context that will end.
	Soft() (soft, owner context.Context)
}

// A Counts collects what a drain still waits for.
type Counts interface {
	// Count adds the function that counts some work. The key identifies the work.
	Count(key any, left func() int)
}

// Count passes left, which counts the work that a step waits for, to the drain of ctx
// if there is one.
func Count(ctx context.Context, key any, left func() int) {
	if c, ok := ctx.Value(CountsKey).(Counts); ok {
		c.Count(key, left)
	}
}

// Until returns when the drain of ctx stops waiting for the work that ctx belongs to.
// Without a drain it is zero.
func Until(ctx context.Context) time.Time {
	until, _ := ctx.Value(UntilKey).(time.Time)
	return until
}

// A Waits is called when a start waits: for what, and until when. If the end is not
// known, until is zero, and the call is repeated every few seconds of the wait.
type Waits = func(what string, until time.Time)

// Wait calls the Waits in ctx, if there is one.
func Wait(ctx context.Context, what string, until time.Time) {
	if w, ok := ctx.Value(WaitKey).(Waits); ok && w != nil {
		w(what, until)
	}
}
