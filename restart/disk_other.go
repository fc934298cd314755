//go:build !linux

package restart

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// A disk is an open file.
type disk struct {
	*os.File
	self os.FileInfo
}

// openFile opens a regular file and refuses all others. It checks the opened file, not
// the path, and does not wait for a FIFO's writer.
func openFile(path string, flags int) (file, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NONBLOCK, 0o600)
	if err == nil {
		d := &disk{File: f}
		if d.self, err = f.Stat(); err == nil && d.self.Mode().IsRegular() {
			return d, nil
		}
		f.Close()
	}
	if err == nil || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENXIO) {
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	return nil, err
}

func (d *disk) at(path string) (bool, error) {
	there, err := os.Stat(path)
	return err == nil && os.SameFile(d.self, there), err
}

func (d *disk) size() int64 { return d.self.Size() }
