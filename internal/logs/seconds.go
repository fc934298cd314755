package logs

import (
	"strconv"
	"time"
)

// Seconds returns d as the log lines have it: in seconds, with the unit, as
// "1.5s". slog writes a time.Duration as "1.5s" in text and as 1500000000 in JSON.
// This is the same in both, says its unit, cannot be taken for nanoseconds, and is
// what time.ParseDuration reads.
func Seconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Round(time.Microsecond).Microseconds())/1e6, 'f', -1, 64) + "s"
}
