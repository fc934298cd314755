package restart

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// bootID names the boot.
func bootID() string {
	id, _ := unix.Sysctl("kern.bootsessionuuid")
	return id
}

// uptime returns the time since about the boot, sleep included.
func uptime() (time.Duration, bool) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &t)
	return time.Duration(t.Nano()), err == nil
}

// started returns what no other process of this boot has: the process id, and
// the time of its start, as ids are used again.
func started() string {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", os.Getpid())
	if err != nil {
		return ""
	}
	return fmt.Sprint(os.Getpid(), p.Proc.P_starttime)
}
