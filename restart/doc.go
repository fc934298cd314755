// Package restart says when what ended may start again.
//
// A [Policy] slows down whatever keeps failing, at any period below its Stable,
// and forgives by the time that runs last. It serves a function, by its Wrap,
// and a process, whose history a [Ledger] keeps on disk.
// [Permanent] marks an error that no restart mends, [RetryAfter] one that says
// itself how long to wait. A [Lock] keeps a second process out while the first
// one still works.
//
// What is wrapped has its level in memory: a function that takes its process
// down with it needs a ledger.
package restart
