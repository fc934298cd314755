//go:build unix

package lifecycle

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// die resets the signal s and sends it to the process. If the process survives, as
// Go programs survive SIGUSR1, SIGKILL follows.
func die(s os.Signal) {
	signal.Reset(s) // not earlier, as it takes the signal from all code of the process
	syscall.Kill(syscall.Getpid(), s.(syscall.Signal))
	time.Sleep(time.Second)
	syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	time.Sleep(time.Second)
	syscall.Exit(2) // PID 1 survives even that. The runtime would exit with 2 too
}
