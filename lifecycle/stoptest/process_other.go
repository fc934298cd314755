//go:build !unix || aix || solaris

package stoptest

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

const canSignal, canOrphan = false, false

var usualSignals = []os.Signal{os.Interrupt}

func signalName(s os.Signal) string {
	if s == os.Kill {
		return "SIGKILL"
	}
	return s.String()
}

// Signal returns the signal of a name, such as QUIT or SIGQUIT.
func Signal(name string) (os.Signal, error) {
	return nil, fmt.Errorf("stoptest: no signal %q: this system has none but the kill", name)
}

func number(os.Signal) int { return 0 }

func separate(*exec.Cmd) {}

func (p *process) status() (code int, by syscall.Signal) { return p.cmd.ProcessState.ExitCode(), -1 }

func gone(int) bool { return true }

func (p *process) left() []string { return nil }

func (p *process) killRest() {}

func locked(string) bool { return false }
