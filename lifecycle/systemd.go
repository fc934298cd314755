package lifecycle

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	patience = 5 * time.Second  // for a drain, after each message
	margin   = 90 * time.Second // for the rest of Start, after a wait: systemd's default
)

// Systemd is a [Group]'s Notify for a systemd unit with Type=notify. It sends
//
//	READY=1     when Start has returned and the tasks run
//	STOPPING=1  when the stop begins
//	STATUS=     what the group does, for systemctl status
//
// It also asks for more time, beyond TimeoutStartSec= and TimeoutStopSec=. While Start
// waits for a restart.Ledger or restart.Lock, it asks for 90 s after the wait. While
// the drain makes progress, it asks for 5 s more. A stuck drain does not get more: systemd
// may kill the process 10 s after what is left last fell, but not before
// TimeoutStopSec= is over.
//
// READY=1 does not wait for the tasks. To send it only once a server accepts
// connections, call net.Listen in Start and serve in a task, as the example does.
// With a socket unit this is not needed.
//
// Systemd does nothing if NOTIFY_SOCKET is not set.
func Systemd(s Status) {
	lines := []string{status(s.String())}
	switch s.State {
	case Starting:
		if s.Waiting != "" {
			lines = append(lines, extend(max(time.Until(s.Until), 0)+margin))
		}
	case Running:
		lines = append(lines, daemon.SdNotifyReady)
	case Draining:
		lines = append(lines, daemon.SdNotifyStopping)
		if s.Falling {
			lines = append(lines, extend(patience))
		}
	}
	// An error means that systemd does not listen. The service can do nothing about it.
	_, _ = daemon.SdNotify(false, strings.Join(lines, "\n"))
}

// status returns the message that shows text, which may come from others. A line
// break in it would begin another message.
func status(text string) string {
	return fmt.Sprintf("STATUS=%.1000s", strings.ReplaceAll(text, "\n", "; "))
}

// extend returns the message that asks for time d from now. go-systemd has no constant
// for it.
func extend(d time.Duration) string {
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds())
}

// Watchdog returns a task for a unit with WatchdogSec=. It calls alive three times in
// that period, and sends WATCHDOG=1 if alive returns nil within half of the period.
// Otherwise it sends nothing but a status line with the error. After a whole period
// without WATCHDOG=1, systemd kills the service.
//
// If alive blocks, so does the task. If the unit has no watchdog, the task returns
// nil at once. A nil alive panics.
func Watchdog(alive func(context.Context) error) func(context.Context) error {
	if alive == nil {
		panic("lifecycle: Watchdog: nil alive")
	}
	return func(ctx context.Context) error {
		period, err := daemon.SdWatchdogEnabled(false)
		if usec, _ := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); period != 0 && period.Microseconds() != usec {
			err = fmt.Errorf("WATCHDOG_USEC: %d is longer than 292 years; set WatchdogSec= to what the service needs", usec)
		}
		if err != nil {
			return fmt.Errorf("lifecycle: Watchdog: %w", err)
		}
		if period == 0 {
			return nil
		}
		again := time.NewTicker(period / 3) // at half, a slow answer after a quick one would be too late
		defer again.Stop()
		for well := true; ; {
			well = ping(ctx, period/2, alive, well)
			select {
			case <-ctx.Done():
				return nil
			case <-again.C:
			}
		}
	}
}

// ping calls alive and sends what it answers. It reports whether all is well.
func ping(ctx context.Context, within time.Duration, alive func(context.Context) error, before bool) (well bool) {
	in, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := alive(in)
	if ctx.Err() != nil { // the task is over
		return true
	}
	if err == nil {
		err = in.Err()
	}
	message := daemon.SdNotifyWatchdog
	switch {
	case err != nil:
		message = status(fmt.Sprintf("not alive: %v", err))
	case !before:
		message += "\n" + status("alive again")
	}
	_, _ = daemon.SdNotify(false, message)
	return err == nil
}
