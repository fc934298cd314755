// Package lifecycle takes a program from its first signal to its exit status.
//
// [WithSignals] returns a context that ends at a signal. A [Group] owns the program's
// goroutines: it starts them, announces the stop to them, runs the drain plan, waits,
// and names those that do not end. A [Stream] is a generator that can be closed at any
// time. [ExitCode] makes the exit status, for os.Exit.
//
// Go cannot end a goroutine from outside. A goroutine that ignores its context is
// left behind and reported with its stack.
package lifecycle
