package systemdtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

// A manager is a systemd with its own root.
type manager struct {
	t   *testing.T
	dir string // units, and rw, which units see as /rw
	pid int
	n   atomic.Int32 // of units
}

// boot starts a manager, or skips the test, and ends it with the test.
func boot(t *testing.T) *manager {
	cgroups := cgroup2()
	_, noSystemd := os.Stat(systemd)
	_, noEnter := exec.LookPath("nsenter")
	switch {
	case os.Getuid() != 0:
		t.Skip("skipped: a systemd with its own root directory needs root privileges")
	case noSystemd != nil:
		t.Skip("skipped: no systemd: ", noSystemd)
	case noEnter != nil:
		t.Skip("skipped: no util-linux: ", noEnter)
	case cgroups == "":
		t.Skip("skipped: no cgroup2 is mounted")
	}
	canary := filepath.Join(os.TempDir(), fmt.Sprintf("evenkeel-canary-%d", os.Getpid()))
	if err := os.WriteFile(canary, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := &manager{t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		if err := os.Remove(canary); err != nil {
			t.Error("a file in the host's temporary folder did not survive: ", err)
		}
		if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), m.dir) {
			t.Error("mounts are left on the host: ", err)
		}
	})
	for _, d := range []string{"units", "rw", "svc", "root"} {
		if err := os.Mkdir(filepath.Join(m.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	group := filepath.Join(cgroups, fmt.Sprintf("evenkeel-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skip("skipped: no control group can be made: ", err)
	}
	t.Cleanup(func() { removeGroup(t, group) })
	self := m.install("test")
	console, err := os.Create(filepath.Join(m.dir, "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	c := exec.Command(self)
	c.Dir, c.Stdout, c.Stderr = m.dir, console, console
	c.Env = []string{proctest.Env("enter"), "CGROUP=" + group}
	runtime.LockOSThread() // the signal comes with the end of the thread, which is that of the test
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC}
	if err := c.Start(); err != nil {
		t.Skip("skipped: no namespaces: ", err)
	}
	m.pid = c.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		c.Process.Kill() // and with process 1 all of its namespace
		<-ended
	})
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if out, err := m.do("systemctl", "is-active", "tests.target"); err == nil && out == "active" {
			return m
		}
		if len(ended) > 0 || time.Since(begin) > 20*time.Second {
			said, _ := os.ReadFile(console.Name())
			t.Fatalf("systemd did not come up:\n%s", said)
		}
	}
}

func cgroup2() string {
	mounts, _ := os.ReadFile("/proc/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	return ""
}

// removeGroup removes a control group and those in it; the kernel may need a
// moment to see that all processes are gone.
func removeGroup(t *testing.T, group string) {
	var err error
	for range 100 {
		filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				defer syscall.Rmdir(path)
			}
			return nil
		})
		if _, err = os.Stat(group); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("control group left: ", group)
}

// install copies this test binary to the place that units see as /svc/name.
func (m *manager) install(name string) (path string) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		m.t.Fatal(err)
	}
	defer self.Close()
	path = filepath.Join(m.dir, "svc", name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, self); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// do runs a command inside.
func (m *manager) do(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	args = append([]string{"-t", fmt.Sprint(m.pid), "-m", "-p", "-C", "-u", "-i", "--"}, args...)
	out, err := exec.CommandContext(ctx, "nsenter", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// A unit is a service under the manager.
type unit struct {
	*manager
	t    *testing.T
	name string
}

// service makes a unit of Type=notify out of a program, more lines for its
// [Service] section, and those for [Unit].
func (m *manager) service(t *testing.T, program string, env []string, lines, head string) *unit {
	u := &unit{m, t, fmt.Sprintf("%s-%d", program, m.n.Add(1))}
	env = append(env, proctest.Env(program), "NAME="+u.name, "GORACE=atexit_sleep_ms=0")
	u.file(".service", fmt.Sprintf(`[Unit]
%s
[Service]
Type=notify
ExecStart=/svc/test
Environment="%s"
Restart=on-failure
RestartSec=50ms
StandardOutput=append:/rw/%s.log
StandardError=append:/rw/%[3]s.log
%[4]s
`, head, strings.Join(env, `" "`), u.name, lines))
	t.Cleanup(func() {
		u.do("systemctl", "kill", "-s", "KILL", u.name)
		if t.Failed() {
			status, _ := u.do("systemctl", "status", u.name)
			t.Logf("%s\n%s", status, u.read("log"))
		}
	})
	return u
}

func (u *unit) file(suffix, text string) {
	if err := os.WriteFile(filepath.Join(u.dir, "units", u.name+suffix), []byte(text), 0o644); err != nil {
		u.t.Fatal(err)
	}
}

// read returns what the program has written to its file with that suffix.
func (u *unit) read(suffix string) string {
	b, _ := os.ReadFile(filepath.Join(u.dir, "rw", u.name+"."+suffix))
	return string(b)
}

// ctl runs systemctl for the unit, and returns how long it took.
func (u *unit) ctl(words ...string) time.Duration {
	u.t.Helper()
	begin := time.Now()
	if out, err := u.do(append(append([]string{"systemctl"}, words...), u.name)...); err != nil {
		u.t.Errorf("systemctl %v: %v: %s", words, err, out)
	}
	return time.Since(begin)
}

// show returns the values of properties, with spaces between.
func (u *unit) show(properties string) string {
	u.t.Helper()
	var values []string
	for _, p := range strings.Fields(properties) { // one by one: systemctl has its own order
		v, err := u.do("systemctl", "show", "--value", "-p", p, u.name)
		if err != nil {
			u.t.Errorf("systemctl show: %v: %s", err, v)
		}
		values = append(values, v)
	}
	return strings.Join(values, " ")
}

// until waits until the properties have these values. A value that ends in "*" matches
// by its prefix.
func (u *unit) until(properties, want string) {
	u.t.Helper()
	got := ""
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		got = u.show(properties)
		if begin, any := strings.CutSuffix(want, "*"); got == want || any && strings.HasPrefix(got, begin) {
			return
		}
	}
	u.t.Fatalf("%s: %s; want %s", properties, got, want)
}

// freeAddr returns a loopback address that is not in use.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
