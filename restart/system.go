package restart

import (
	"errors"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// A system is what a [Ledger] and a [Lock] ask of the machine. Tests put faults
// and other clocks in its place.
type system struct {
	open func(path string) (file, error)  // for reading and writing; makes it if there is none
	look func(path string) (file, error)  // for reading
	lock func(*flock.Flock) (bool, error) // TryLock
	now  func() moment
	self func() uint64 // names this process and no other; 0: it cannot be told
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	at(path string) (bool, error) // whether it is what the path leads to
	size() int64                  // when it was opened
	Sync() error                  // of the data at least
	Truncate(size int64) error
}

var errNotRegular = errors.New("it is not a regular file, so it is left alone; let Path name a file of its own")

// machine is the system there is.
func machine() *system {
	boot := sync.OnceValue(func() uint64 { return hash(bootID()) })
	return &system{
		open: func(path string) (file, error) { return openFile(path, os.O_RDWR|os.O_CREATE) },
		look: func(path string) (file, error) { return openFile(path, os.O_RDONLY) },
		lock: (*flock.Flock).TryLock,
		now: func() moment {
			m := moment{wall: time.Now().UnixNano(), boot: boot()}
			if up, ok := uptime(); ok && m.boot != 0 {
				m.up = int64(up)
			} else {
				m.up, m.boot = m.wall, 0
			}
			return m
		},
		self: sync.OnceValue(func() uint64 {
			if start := started(); boot() != 0 && start != "" {
				return hash(strconv.FormatUint(boot(), 16) + start)
			}
			return 0
		}),
	}
}

// hash returns 0 for what is not known, "".
func hash(s string) uint64 {
	if s == "" {
		return 0
	}
	h := fnv.New64a()
	io.WriteString(h, s)
	return h.Sum64()
}

// A moment is a time on two clocks. The one since the boot is not stepped by
// anybody and goes on while the machine sleeps, so it is the one that counts
// within a boot. On a system without one, it is the wall clock again.
type moment struct {
	wall int64  // ns since 1970
	up   int64  // ns since the boot
	boot uint64 // which boot; 0 where it is not known
}

// since returns how long it is since m in the same boot, never less than 0.
func (m moment) since(earlier moment) time.Duration {
	return time.Duration(max(0, m.up-earlier.up))
}

// A hold is a file with its kernel lock. Windows keeps others, and our own other
// handle, from the byte that is locked, the first one: nothing is kept there.
type hold struct {
	file
	lock *flock.Flock
}

// grab locks the file at path, which it makes if there is none. It returns nil
// if another process has the lock.
func (s *system) grab(path string) (*hold, error) {
	f, err := s.open(path)
	if err != nil {
		return nil, err
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDWR|syscall.O_NONBLOCK))
	ok, err := s.lock(lock)
	if ok {
		// The path led to f before and leads to it now, so it is f that is locked.
		if ok, err = f.at(path); ok {
			return &hold{f, lock}, nil
		}
		lock.Unlock()
	}
	f.Close()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // deleted meanwhile: who has the next file has the lock
	}
	return nil, err
}

// release lets go of the lock.
func (h *hold) release() error {
	return errors.Join(h.Close(), h.lock.Unlock())
}
