package restart

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

// load reads the ring, and mends the file first.
func (h *hold) load(path string) (history, error) {
	old, size, err := read(h)
	isNew := len(old) == 0
	switch {
	case err == errCorrupt:
		err = h.restore(path, size)
	case err == nil && (isNew || size != ringSize):
		err = h.mend(path, size, isNew)
	}
	return old, err
}

// restore copies a damaged ledger to a new file, and then empties it in place: a
// rename would give up the lock with the file, and Windows renames no open file.
// If path is a symbolic link, the copy lies beside the link's target. It always
// returns an error, because the last run is unknown.
func (h *hold) restore(path string, size int) error {
	const most = 10
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for n := range most {
		name := path + ".corrupt"
		if n > 0 {
			name = fmt.Sprintf("%s.%d", name, n)
		}
		err := h.copy(name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil { // only what has a copy is emptied
			err = h.mend(path, size, true)
		}
		if err != nil {
			return errors.Join(errCorrupt, err)
		}
		return fmt.Errorf("%w; a copy of it is %s", errCorrupt, name)
	}
	return fmt.Errorf("%w; it stays, as there are %d files like %s.corrupt: remove them", errCorrupt, most, path)
}

// copy writes the file to a new one, except for the lock's byte, which is always 0.
func (h *hold) copy(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(f, 1), io.NewSectionReader(h, 1, math.MaxInt64-1))
	if err = cmp.Or(err, f.Sync(), f.Close()); err != nil {
		os.Remove(name)
	}
	return err
}

// mend gives a file of this size its length, and if it is new its first blocks.
// It writes zeros rather than calling fallocate, which needs no code for each
// system and changes nothing in the file's tree when the disk is full. If the
// directory cannot be synced, a loss of power may lose a new file, but nothing else.
func (h *hold) mend(path string, size int, isNew bool) error {
	if size > ringSize { // before the zeros: a longer file of zeros would be foreign
		if err := h.Truncate(ringSize); err != nil {
			return err
		}
		size = ringSize
	}
	if isNew {
		size = 1
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
