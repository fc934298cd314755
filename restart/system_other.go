//go:build !linux && !darwin

package restart

import (
	"os"
	"time"
)

type disk struct{ *os.File }

// uptime knows no boot, so that all times are the wall clock's.
func uptime() (boot string, up time.Duration) { return "", 0 }

// started cannot tell processes apart.
func started() string { return "" }
