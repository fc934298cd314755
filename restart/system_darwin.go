package restart

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// bootID identifies the boot.
func bootID() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return id
}

// uptime returns the time since about the boot, including sleep.
func uptime() (time.Duration, bool) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &t)
	return time.Duration(t.Nano()), err == nil
}

// started identifies this process within the boot: by its id, and by its start time,
// because ids are reused.
func started() string {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", os.Getpid())
	if err != nil {
		return ""
	}
	return fmt.Sprint(os.Getpid(), p.Proc.P_starttime)
}
