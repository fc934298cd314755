package lifecycle

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	patience = 5 * time.Second  // for a drain, after each message
	margin   = 90 * time.Second // for the rest of Start, after a wait: systemd's default
)

// Systemd is a [Group]'s Notify for a unit of Type=notify: READY=1, STOPPING=1,
// and what systemctl status shows. While Start waits for a restart.Ledger or a
// restart.Lock, TimeoutStartSec= is put off, to 90 s after the wait at the least;
// in the drain TimeoutStopSec= is, as long as what is left becomes less. A drain
// that is stuck gets no more time: 5 s after what is left was last seen to fall,
// the last 5 s begin.
//
// READY=1 says that Start has returned, and not that a server listens yet. Where
// systemctl start must wait for that too, let systemd pass the socket.
//
// Where NOTIFY_SOCKET is not set, nothing happens.
func Systemd(s Status) {
	lines := []string{status(s.String())}
	switch s.State {
	case string(starting):
		if s.Waiting != "" {
			lines = append(lines, extend(max(time.Until(s.Until), 0)+margin))
		}
	case string(running):
		lines = append(lines, daemon.SdNotifyReady)
	case string(draining):
		lines = append(lines, daemon.SdNotifyStopping)
		if s.Falling {
			lines = append(lines, extend(patience))
		}
	}
	// There is nobody to tell of an error: it is systemd that does not listen.
	_, _ = daemon.SdNotify(false, strings.Join(lines, "\n"))
}

// status keeps text from others to its line: the next one would be a message.
func status(text string) string {
	return fmt.Sprintf("STATUS=%.1000s", strings.ReplaceAll(text, "\n", "; "))
}

// extend is the message for which go-systemd has no constant.
func extend(d time.Duration) string {
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds())
}

// Watchdog returns a task that tells systemd that the service is alive, for a
// unit with WatchdogSec=. Three times in that time it asks alive, and passes on
// only an answer of nil within half of it; another answer is seen in systemctl
// status. Where alive does not return, nor does the task.
//
// Without a watchdog the task returns at once. An alive of nil panics.
func Watchdog(alive func(context.Context) error) func(context.Context) error {
	if alive == nil {
		panic("lifecycle: Watchdog: nil alive")
	}
	return func(ctx context.Context) error {
		period, err := daemon.SdWatchdogEnabled(false)
		if err != nil {
			return fmt.Errorf("lifecycle: Watchdog: %w", err)
		}
		if period == 0 {
			return nil
		}
		again := time.NewTicker(period / 3) // at half, a slow answer after a quick one were too late
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

// ping reports whether all is well.
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
