package restart

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type disk struct{ *os.File }

// Sync spares the second write, of the file's times, that fsync is.
func (d disk) Sync() error { return syscall.Fdatasync(int(d.Fd())) }

// uptime returns the boot's id and the time since then. Package syscall has no
// clock that goes on while the machine sleeps, so it is taken from x/sys, which
// flock needs in any case.
func uptime() (boot string, up time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	var t unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return "", 0
	}
	return string(id), time.Duration(t.Nano())
}

// started returns what no other process of this boot has: the namespace of the
// process id, the id, and the tick of its start, as ids are used again.
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
