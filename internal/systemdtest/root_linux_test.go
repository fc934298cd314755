package systemdtest

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

const (
	systemd = "/usr/lib/systemd/systemd"
	// Hides the units and generators that systemd brings, if there are any.
	hide = "system system-generators system-environment-generators"
)

// enter is the program that becomes systemd. It is process 1 of new namespaces,
// its working directory is the harness's folder, and CGROUP its control group.
func enter() {
	runtime.LockOSThread() // namespaces and capabilities are the thread's, until exec
	if os.Getpid() != 1 {
		fmt.Println("systemdtest: not process 1 of a namespace: refused")
		os.Exit(1)
	}
	dir, err := os.Getwd()
	check(err)
	check(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	check(os.WriteFile(filepath.Join(os.Getenv("CGROUP"), "cgroup.procs"), []byte("0"), 0))
	check(syscall.Unshare(syscall.CLONE_NEWCGROUP))
	root := filepath.Join(dir, "root")
	tmpfs(root, "mode=755,size=64m")
	check(os.Chdir(root))
	build(dir)
	check(syscall.PivotRoot(".", "old"))
	check(os.Chdir("/"))
	check(syscall.Unmount("/old", syscall.MNT_DETACH))
	for _, capability := range []uintptr{16, 17, 22, 25, 27, 34} { // SYS_MODULE, RAWIO, BOOT, TIME, MKNOD, SYSLOG
		if _, _, err := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_CAPBSET_DROP, capability, 0); err != 0 {
			check(err)
		}
	}
	check(syscall.Exec(systemd, []string{systemd, "--system", "--unit=tests.target", "--log-target=console", "--show-status=0"}, []string{
		"PATH=/usr/sbin:/usr/bin", "container=systemdtest", "SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/system"}))
}

// build fills the new root, which is the working directory.
func build(dir string) {
	for _, d := range strings.Fields("usr etc/systemd/system proc sys dev run tmp var/lib var/log svc rw old root") {
		check(os.MkdirAll(d, 0o755))
	}
	check(os.Chmod("tmp", 0o1777))
	for _, d := range strings.Fields("bin sbin lib lib64") {
		check(os.Symlink("usr/"+d, d))
	}
	bind("/usr", "usr", true)
	for _, d := range strings.Fields(hide) {
		for _, under := range []string{"usr/lib/systemd/", "usr/local/lib/systemd/"} {
			if _, err := os.Stat(under + d); err == nil {
				check(syscall.Mount("tmpfs", under+d, "tmpfs", syscall.MS_RDONLY, "size=4k"))
			}
		}
	}
	if cache, err := os.ReadFile("/etc/ld.so.cache"); err == nil {
		write("etc/ld.so.cache", string(cache))
	}
	write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n")
	write("etc/group", "root:x:0:\nnogroup:x:65534:\n")
	id := make([]byte, 16)
	rand.Read(id)
	write("etc/machine-id", fmt.Sprintf("%x\n", id))
	write("etc/systemd/system.conf", "[Manager]\nShowStatus=no\n")
	check(syscall.Mount("proc", "proc", "proc", 0, ""))
	for _, p := range strings.Fields("sys sysrq-trigger irq bus acpi") {
		if _, err := os.Stat("proc/" + p); err == nil {
			bind("proc/"+p, "proc/"+p, true)
		}
	}
	bind("/sys", "sys", true)
	check(syscall.Mount("cgroup2", "sys/fs/cgroup", "cgroup2", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""))
	tmpfs("dev", "mode=755,size=4m")
	for _, n := range strings.Fields("null zero full random urandom tty") {
		write("dev/"+n, "")
		bind("/dev/"+n, "dev/"+n, false)
	}
	check(os.Symlink("/proc/self/fd", "dev/fd"))
	tmpfs("run", "mode=755,size=16m")
	bind(filepath.Join(dir, "svc"), "svc", true)
	bind(filepath.Join(dir, "rw"), "rw", false)
	bind(filepath.Join(dir, "units"), "etc/systemd/system", true)
	check(os.MkdirAll("run/systemd/system", 0o755))
	// The units on which others depend by default, empty.
	for _, n := range strings.Fields("sysinit basic sockets shutdown umount final local-fs tests") {
		write("run/systemd/system/"+n+".target", "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n")
	}
}

func tmpfs(at, options string) {
	check(os.MkdirAll(at, 0o755))
	check(syscall.Mount("tmpfs", at, "tmpfs", 0, options))
}

func bind(from, to string, readOnly bool) {
	check(syscall.Mount(from, to, "", syscall.MS_BIND, ""))
	if readOnly {
		check(syscall.Mount("", to, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
	}
}

func write(path, text string) { check(os.WriteFile(path, []byte(text), 0o644)) }

// check ends the program at an error. As that is process 1, all its processes end too.
func check(err error) {
	if err != nil {
		_, _, line, _ := runtime.Caller(1)
		fmt.Printf("systemdtest: line %d: %v\n", line, err)
		os.Exit(1)
	}
}
