//go:build unix && !linux && !aix && !solaris

package stoptest

import "syscall"

// dieWithUs does nothing: what this process started outlives it if it is killed.
func dieWithUs(*syscall.SysProcAttr) {}
