//go:build !linux && !darwin

package restart

import "time"

// Without the boot all times are the wall clock's, and without the start
// processes cannot be told apart.
func bootID() string                { return "" }
func uptime() (time.Duration, bool) { return 0, false }
func started() string               { return "" }
