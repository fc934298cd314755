package restart

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

type disk struct{ *os.File }

// uptime returns the boot's id and the time since about then, sleep included.
func uptime() (boot string, up time.Duration) {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	var t unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &t) != nil {
		return "", 0
	}
	return id, time.Duration(t.Nano())
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
