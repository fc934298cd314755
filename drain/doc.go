// Package drain stops a service in order and within a deadline.
//
// A [Plan] runs phases in order, under one budget. A [Phase] is a set of steps that
// run side by side. A [Step] stops one thing. The [Report] says what became of each
// step. A step that ignores its context is abandoned and named: the plan does not
// wait for it.
//
// A [Gate] admits work, counts it, and waits for it at the stop. A [Server] is a gate
// for HTTP requests, and [Graceful] adapts a gRPC server. [Stopping] lets a stream
// know that it should end.
package drain
