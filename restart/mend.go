package restart

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// load reads the ring, and mends the file first.
func (h *hold) load(path string) (history, error) {
	old, size, err := read(h)
	isNew := len(old) == 0
	switch {
	case err == errCorrupt:
		err = quarantine(path)
	case err == nil && (isNew || size != ringSize):
		err = h.mend(path, size, isNew)
	}
	return old, err
}

// quarantine moves a damaged ledger out of the way, beside itself if path is a
// symbolic link. Its lock is held, so no other process moves the next one. It
// returns an error in any case: what the file should have told is not known.
//
// Windows does not let an open file be moved. There it stays until it is moved by
// hand, and is of no use.
func quarantine(path string) error {
	const most = 10
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for n := range most {
		moved := path + ".corrupt"
		if n > 0 {
			moved = fmt.Sprintf("%s.%d", moved, n)
		}
		if _, err := os.Lstat(moved); err == nil {
			continue
		}
		if err := os.Rename(path, moved); err != nil {
			return errors.Join(errCorrupt, err)
		}
		return fmt.Errorf("%w; it is %s now", errCorrupt, moved)
	}
	return fmt.Errorf("%w; it stays, as there are %d files like %s.corrupt: remove them", errCorrupt, most, path)
}

// mend gives a file of this size its blocks, by zeros rather than fallocate: that
// needs no call of each system, and leaves nothing to be changed in the file's
// tree when the disk is full. A directory that cannot be synced may lose a new
// file in a loss of power, and nothing else.
func (h *hold) mend(path string, size int, isNew bool) error {
	if isNew {
		size = 1
	}
	if size > ringSize {
		return h.Truncate(ringSize)
	}
	if _, err := h.WriteAt(make([]byte, ringSize-size), int64(size)); err != nil {
		return err
	}
	if isNew {
		if dir, err := os.Open(filepath.Dir(path)); err == nil {
			dir.Sync()
			dir.Close()
		}
	}
	return h.Sync()
}
