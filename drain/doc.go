// Package drain stops a service in order and within a deadline.
//
// A [Gate] refuses new work and waits for the work it admitted. A [Server] does
// so for HTTP, [Graceful] adapts a server of gRPC, and [Stopping] tells a stream
// to come to its end.
// A [Phase] is a set of steps that run side by side; a [Plan] takes phases in
// order, under one budget, and its [Report] says what became of each [Step].
//
// A step that ignores its context is abandoned and named, never awaited.
package drain
