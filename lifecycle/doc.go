// Package lifecycle takes a program from its first signal to its exit status.
//
// [WithSignals] turns signals into the end of a context, and does nothing else
// in the hook. A [Group] owns the program's goroutines: it starts them, tells
// them of the stop, runs the drain plan, waits, and names what does not end. A
// [Stream] is a generator that can be closed at any time. [ExitCode] is what
// main passes to os.Exit.
//
// No goroutine can be ended from outside. What ignores its context is reported
// with its stack and left behind.
package lifecycle
