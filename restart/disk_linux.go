package restart

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A disk is a file on one. It is made for few calls, each of which counts beside
// a sync of 0.1 ms.
type disk struct {
	*os.File
	self unix.Statx_t // its inode, once at has asked for it
}

// openFile does not ask whether the file can be polled, as os.OpenFile would.
func openFile(path string) (*os.File, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		if err != unix.EINTR {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// at does not look at the file's times: who has seen them makes the next write
// change them, and its sync dearer.
func (d *disk) at(path string) (bool, error) {
	var there unix.Statx_t
	var err error
	if d.self.Ino == 0 {
		err = d.control(func(fd int) error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO, &d.self) })
	}
	if err == nil {
		err = unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO, &there)
	}
	switch {
	case err == unix.ENOSYS || err == unix.EPERM: // before 4.11, or a filter that is as old
		return sameFile(d.File, path)
	case err != nil:
		return false, &fs.PathError{Op: "statx", Path: path, Err: err}
	}
	return d.self.Ino == there.Ino && d.self.Dev_major == there.Dev_major && d.self.Dev_minor == there.Dev_minor, nil
}

// Sync spares the second write, of the file's times, that fsync is.
func (d *disk) Sync() error { return d.control(unix.Fdatasync) }

func (d *disk) control(f func(fd int) error) error {
	conn, err := d.SyscallConn()
	if err != nil {
		return err
	}
	if e := conn.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}
