package restart

import (
	"bytes"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootID identifies the boot.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(id)
}

// uptime returns the time since the boot, including sleep. The clock is from x/sys,
// which flock needs anyway, because package syscall has none that includes sleep.
func uptime() (time.Duration, bool) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano()), err == nil
}

// started identifies this process within the boot: by the namespace of its id, the id,
// and the 10 ms tick of its start, because ids are reused.
func started() string {
	space, err := os.Readlink("/proc/self/ns/pid")
	stat, err2 := os.ReadFile("/proc/self/stat")
	// The fields follow the program's name, which may contain spaces.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if err != nil || err2 != nil || len(fields) < 20 {
		return ""
	}
	return strings.Join([]string{space, string(stat[:bytes.IndexByte(stat, ' ')]), fields[19]}, " ")
}
