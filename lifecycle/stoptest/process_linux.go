package stoptest

import "syscall"

// dieWithUs has the kernel kill the process when the thread that starts it ends.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
