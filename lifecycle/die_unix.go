//go:build unix

package lifecycle

import (
	"os"
	"syscall"
	"time"
)

// die sends the process the signal that it no longer catches. One that is
// ignored, or that Go programs survive (SIGUSR1), is followed by SIGKILL.
func die(s os.Signal) {
	syscall.Kill(syscall.Getpid(), s.(syscall.Signal))
	time.Sleep(time.Second)
	syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	time.Sleep(time.Second)
	syscall.Exit(2) // PID 1 does not die even of that; 2 is what the runtime ends it with
}
