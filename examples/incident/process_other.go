//go:build !unix

package main

import (
	"os"
	"syscall"
)

var ownGroup *syscall.SysProcAttr

func endedBy(*os.ProcessState) string { return "" }

const supported = false // processes cannot be sent signals
