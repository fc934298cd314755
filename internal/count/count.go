// Package count counts what is within something that can be shut.
package count

import "sync/atomic"

// A Count is the number within, and whether it is shut. It is one atomic word, so
// nothing enters behind the shutting, and nothing is lost between the two.
//
// The zero Count is open and empty. Its methods may be called concurrently.
type Count struct {
	word atomic.Int64 // twice the number within, plus one once shut
}

// Enter adds one and reports whether the count is open. After false the caller
// takes the one back by Leave at once. It is a single atomic operation.
func (c *Count) Enter() (open bool) { return c.word.Add(2)&1 == 0 }

// TryEnter adds one if the count is open, and reports whether it did. Unlike Enter it
// never counts what it turns away, at the price of a loop of compare-and-swap.
func (c *Count) TryEnter() bool {
	for {
		n := c.word.Load()
		if n&1 == 1 {
			return false
		}
		if c.word.CompareAndSwap(n, n+2) {
			return true
		}
	}
}

// Leave takes one back. It returns how many are left, which is negative after a
// Leave without an Enter, and whether the count is shut.
func (c *Count) Leave() (within int, shut bool) { return split(c.word.Add(-2)) }

// Shut lets nothing more enter. It returns how many are within. It may be called
// more than once.
func (c *Count) Shut() (within int) {
	within, _ = split(c.word.Or(1))
	return within
}

// ShutEmpty shuts the count if nothing is within, and reports whether it is shut
// and empty now.
func (c *Count) ShutEmpty() bool { return c.word.Load() == 1 || c.word.CompareAndSwap(0, 1) }

// Within returns how many are within. For a moment it includes those that Enter
// turns away.
func (c *Count) Within() (within int, shut bool) { return split(c.word.Load()) }

func split(word int64) (int, bool) { return int(word >> 1), word&1 == 1 }
