package restart

import (
	"bytes"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootID names the boot.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(id)
}

// uptime returns the time since the boot. Package syscall has no clock that goes
// on while the machine sleeps, so it is taken from x/sys, which flock needs in
// any case.
func uptime() (time.Duration, bool) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano()), err == nil
}

// started returns what no other process of this boot has: the namespace of the
// process id, the id, and, as ids are used again, the tick of 10 ms it began in.
func started() string {
	space, err := os.Readlink("/proc/self/ns/pid")
	stat, err2 := os.ReadFile("/proc/self/stat")
	// The fields after the program's name, which may have spaces in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if err != nil || err2 != nil || len(fields) < 20 {
		return ""
	}
	return strings.Join([]string{space, string(stat[:bytes.IndexByte(stat, ' ')]), fields[19]}, " ")
}
