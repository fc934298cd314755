package main

import (
	"os"
	"syscall"
)

// maxRSS returns the most memory, in bytes, that a process had.
func maxRSS(s *os.ProcessState) int64 { return s.SysUsage().(*syscall.Rusage).Maxrss * 1024 }
