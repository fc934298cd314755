//go:build unix

package lifecycle

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// die sends the process the signal, which it no longer catches. If it survives
// that, as Go programs survive SIGUSR1, SIGKILL follows.
func die(s os.Signal) {
	signal.Reset(s) // only now: it takes the signal from everything in the process
	syscall.Kill(syscall.Getpid(), s.(syscall.Signal))
	time.Sleep(time.Second)
	syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	time.Sleep(time.Second)
	syscall.Exit(2) // PID 1 does not die even of that; 2 is what the runtime ends it with
}
