package logs

import (
	"strconv"
	"time"
)

// Seconds returns d in seconds with the unit, for log lines: "1.5s". time.ParseDuration
// reads it. slog would write a time.Duration as "1.5s" in text, but as 1500000000 in
// JSON.
func Seconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Round(time.Microsecond).Microseconds())/1e6, 'f', -1, 64) + "s"
}
