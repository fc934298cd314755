//go:build !linux

package restart

import "os"

// A disk is a file on one.
type disk struct{ *os.File }

func openFile(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }

func (d *disk) at(path string) (bool, error) { return sameFile(d.File, path) }
