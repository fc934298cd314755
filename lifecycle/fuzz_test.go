package lifecycle_test

import (
	"context"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// Whatever systemd's variables hold, Systemd does not fail, and Watchdog asks alive
// three times a period, returns nil at once if this process has no watchdog, or
// returns one error.
func FuzzSystemdVariables(f *testing.F) {
	f.Add("", "30000000", "self")
	f.Add("@abstract", "1", "")
	f.Add("/no/socket", "9223372036854775807", "")
	f.Add(strings.Repeat("x", 200), "-1", "soon")
	f.Add("vsock:2:1234", "99999999999999999999", "1")
	f.Fuzz(func(t *testing.T, socket, usec, pid string) {
		if strings.Contains(socket+usec+pid, "\x00") { // no variable can hold it
			return
		}
		if pid == "self" {
			pid = strconv.Itoa(os.Getpid())
		}
		t.Setenv("NOTIFY_SOCKET", socket)
		lifecycle.Systemd(lifecycle.Status{State: lifecycle.Running})
		t.Setenv("NOTIFY_SOCKET", "")
		t.Setenv("WATCHDOG_USEC", usec)
		t.Setenv("WATCHDOG_PID", pid)
		n, err := strconv.ParseInt(usec, 10, 64)
		of, notPID := strconv.Atoi(pid)
		mine := pid == "" || of == os.Getpid()
		bad := usec != "" && (err != nil || n <= 0 || pid != "" && notPID != nil || n > math.MaxInt64/1000 && mine)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked, began, period := 0, time.Now(), time.Duration(n)*time.Microsecond
			err := lifecycle.Watchdog(func(context.Context) error {
				if asked++; asked == 3 {
					cancel()
				}
				return nil
			})(ctx)
			asks := mine && !bad && usec != ""
			if bad != (err != nil) || asks != (asked == 3) || asks && time.Since(began) != 2*(period/3) || err != nil && !strings.HasPrefix(err.Error(), "lifecycle: Watchdog: ") {
				t.Errorf("WATCHDOG_USEC=%q WATCHDOG_PID=%q: asked %d times in %v, %v", usec, pid, asked, time.Since(began), err)
			}
		})
	})
}
