//go:build unix

package main

import (
	"os"
	"syscall"
)

// ownGroup keeps a Ctrl-C in the terminal from the processes of the replay, which ends
// them itself.
var ownGroup = &syscall.SysProcAttr{Setpgid: true}

// endedBy returns the signal that ended a process, if one did.
func endedBy(s *os.ProcessState) string {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return w.Signal().String()
	}
	return ""
}

const supported = true
