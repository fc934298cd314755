//go:build !linux

package restart

import "os"

// A disk is a file on one.
type disk struct{ *os.File }

func openFile(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }

func (d disk) at(path string) (bool, error) {
	ours, err := d.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(ours, there), err
}
