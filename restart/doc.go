// Package restart says when something that ended may start again.
//
// A [Policy] slows down whatever keeps failing, at any period below its Stable, and
// forgives failures as time passes without one. Its Wrap serves a function; a
// [Ledger] serves a process, whose history it keeps on disk.
// [Permanent] marks an error that no restart can fix, and [RetryAfter] one that
// says how long to wait. A [Box] records who is in flight, for the case that the
// process dies. A [Lock] keeps a second process out until the first one
// has ended its work, and a [Lease] does so across machines.
//
// Wrap keeps the level in memory. If a function takes its process down with it, use
// a ledger.
package restart
