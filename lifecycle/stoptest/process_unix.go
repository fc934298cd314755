//go:build unix && !aix && !solaris

package stoptest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const canSignal, canOrphan = true, true

var usualSignals = []os.Signal{syscall.SIGTERM, syscall.SIGINT}

// signalNames are those that Signal understands and tables show.
var signalNames = map[syscall.Signal]string{
	syscall.SIGHUP: "SIGHUP", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT", syscall.SIGABRT: "SIGABRT",
	syscall.SIGKILL: "SIGKILL", syscall.SIGPIPE: "SIGPIPE", syscall.SIGTERM: "SIGTERM", syscall.SIGSEGV: "SIGSEGV",
	syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2", syscall.SIGWINCH: "SIGWINCH",
}

func signalName(s os.Signal) string {
	if n, ok := s.(syscall.Signal); ok && signalNames[n] != "" {
		return signalNames[n]
	}
	return s.String()
}

// Signal returns the signal of a name, such as QUIT or SIGQUIT.
func Signal(name string) (os.Signal, error) {
	for s, n := range signalNames {
		if n == strings.ToUpper(name) || n == "SIG"+strings.ToUpper(name) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("stoptest: no signal %q", name)
}

func number(s os.Signal) int {
	n, _ := s.(syscall.Signal)
	return int(n)
}

// separate gives the command a process group, so that its children are found, and signals
// of a terminal do not reach it.
func separate(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	dieWithUs(cmd.SysProcAttr)
}

// status returns the exit status, and the signal that killed the process, or -1.
func (p *process) status() (code int, by syscall.Signal) {
	if w, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return -1, w.Signal()
	}
	return p.cmd.ProcessState.ExitCode(), -1
}

// state returns the state and the process group that /proc has of a process.
func state(pid int) (state string, group int, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 3 {
		return "", 0, false
	}
	group, err = strconv.Atoi(fields[2])
	return fields[0], group, err == nil
}

// gone reports whether a process that is not our child has exited.
func gone(pid int) bool {
	if s, _, ok := state(pid); ok {
		return s == "Z" || s == "X" // what is left until its new parent waits for it
	}
	return syscall.Kill(pid, 0) != nil
}

// rest returns what still runs of the program's children: those of its process group and,
// on Linux, those that have its environment.
func (p *process) rest() (pids []int) {
	group := p.cmd.Process.Pid
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range procs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		s, g, ok := state(pid)
		if err != nil || !ok || s == "Z" || s == "X" || pid == os.Getpid() {
			continue
		}
		env, _ := os.ReadFile(dir + "/environ")
		if g == group || bytes.Contains(append(env, 0), []byte(p.marker+"\x00")) {
			pids = append(pids, pid)
		}
	}
	if len(procs) == 0 && syscall.Kill(-group, 0) == nil {
		return []int{-group}
	}
	return pids
}

// left waits a second for the program's children to end. It describes those that run on.
func (p *process) left() (found []string) {
	for range 50 {
		if len(p.rest()) == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, pid := range p.rest() {
		words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		name := strings.TrimSpace(strings.ReplaceAll(string(words), "\x00", " "))
		found = append(found, fmt.Sprintf("process %d (%.80s)", pid, name))
	}
	return found
}

// killRest kills the program's children.
func (p *process) killRest() {
	for range 100 {
		pids := p.rest()
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(pids) == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// locked reports whether another process has a lock on the file.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == syscall.EWOULDBLOCK
}
