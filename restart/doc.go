// Package restart says when what ended may start again.
//
// A [Policy] slows down whatever keeps failing, at any period below its Stable,
// and forgives by the time that runs last.
// [Permanent] marks an error that no restart mends, [RetryAfter] one that says
// itself how long to wait.
//
// The policy's level lives as long as the function that Wrap returned runs: it
// does not survive the process.
package restart
