package restart

import (
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// A disk is an open file. It lacks the poller and the finalizer of an os.File, because
// each call counts beside a sync of 0.1 ms.
type disk struct {
	fd   int
	path string
	self unix.Statx_t // its inode and size when it was opened
}

// openFile opens a regular file and refuses all others. It checks the opened file, not
// the path, and does not wait for a FIFO's writer or a terminal's line.
func openFile(path string, flags int) (file, error) {
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Open(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0o600)
		return err
	})
	d := &disk{fd: fd, path: path}
	if err == nil {
		if d.self, err = statx(fd, ""); err == nil && d.self.Mode&unix.S_IFMT == unix.S_IFREG {
			return d, nil
		}
		unix.Close(fd)
	}
	if err == nil || err == unix.EISDIR || err == unix.ENXIO {
		err = errNotRegular
	}
	return nil, d.failed("open", err)
}

// again calls f until no signal interrupts it.
func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// statx returns the state of the file at path, or of fd if path is "". It does not ask
// for the file's times: once read, the kernel changes them at the next write, which
// makes its sync slower.
func statx(fd int, path string) (st unix.Statx_t, err error) {
	flags := 0
	if path == "" {
		flags = unix.AT_EMPTY_PATH
	}
	err = unix.Statx(fd, path, flags, unix.STATX_TYPE|unix.STATX_INO|unix.STATX_SIZE, &st)
	if err != unix.ENOSYS && err != unix.EPERM { // statx works; it lacks before Linux 4.11 or under an old seccomp filter
		return st, err
	}
	var old unix.Stat_t
	if path == "" {
		err = unix.Fstat(fd, &old)
	} else {
		err = unix.Stat(path, &old)
	}
	st.Mode, st.Ino, st.Size = uint16(old.Mode), old.Ino, uint64(old.Size)
	st.Dev_major, st.Dev_minor = unix.Major(uint64(old.Dev)), unix.Minor(uint64(old.Dev))
	return st, err
}

func (d *disk) at(path string) (bool, error) {
	there, err := statx(unix.AT_FDCWD, path)
	if err != nil {
		return false, d.failed("stat", err)
	}
	return d.self.Ino == there.Ino && d.self.Dev_major == there.Dev_major && d.self.Dev_minor == there.Dev_minor, nil
}

func (d *disk) Fd() uintptr { return uintptr(d.fd) }

func (d *disk) size() int64 { return int64(d.self.Size) }

func (d *disk) ReadAt(b []byte, off int64) (int, error) {
	return d.all("read", b, off, unix.Pread)
}

func (d *disk) WriteAt(b []byte, off int64) (int, error) {
	return d.all("write", b, off, unix.Pwrite)
}

// all calls f until all of b is read or written.
func (d *disk) all(op string, b []byte, off int64, f func(int, []byte, int64) (int, error)) (n int, err error) {
	for n < len(b) {
		var m int
		err := again(func() (err error) { m, err = f(d.fd, b[n:], off+int64(n)); return err })
		switch {
		case err != nil:
			return n, d.failed(op, err)
		case m == 0:
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

func (d *disk) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.path, Err: err}
}

// Sync writes the data. Unlike fsync, it saves a second write, of the file's times.
func (d *disk) Sync() error {
	return d.failed("sync", again(func() error { return unix.Fdatasync(d.fd) }))
}

func (d *disk) Truncate(size int64) error {
	return d.failed("truncate", again(func() error { return unix.Ftruncate(d.fd, size) }))
}

func (d *disk) Close() error { return d.failed("close", unix.Close(d.fd)) }
