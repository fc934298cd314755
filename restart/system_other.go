//go:build !linux && !darwin

package restart

import "time"

// Without a boot id, all times are from the wall clock. Without a start time, processes
// cannot be distinguished.
func bootID() string                { return "" }
func uptime() (time.Duration, bool) { return 0, false }
func started() string               { return "" }
