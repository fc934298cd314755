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
	"unsafe"

	"github.com/gofrs/flock"
)

// A system is what a [Ledger] and a [Lock] need from the machine. Tests replace it, to
// have faults and other clocks.
type system struct {
	open func(path string) (file, error)  // for reading and writing; creates a missing file
	look func(path string) (file, error)  // for reading
	lock func(*flock.Flock) (bool, error) // TryLock
	now  func() moment
	self func() uint64 // identifies this process and no other; 0 if that is impossible

	// mapped maps the first boxSize bytes of the file. It is nil on a system that cannot.
	mapped func(file) (unsafe.Pointer, error)
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	at(path string) (bool, error) // reports whether the path leads to this file
	size() int64                  // at the time it was opened
	Fd() uintptr
	Sync() error // at least the data
	Truncate(size int64) error
}

var errNotRegular = errors.New("it is not a regular file, so it is left alone; set Path to a file that nothing else uses")

// machine returns the real system.
func machine() *system {
	boot := sync.OnceValue(func() uint64 { return hash(bootID()) })
	return &system{
		mapped: mapped,
		open:   func(path string) (file, error) { return openFile(path, os.O_RDWR|os.O_CREATE) },
		look:   func(path string) (file, error) { return openFile(path, os.O_RDONLY) },
		lock:   (*flock.Flock).TryLock,
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

// hash returns 0 for "", which stands for unknown.
func hash(s string) uint64 {
	if s == "" {
		return 0
	}
	h := fnv.New64a()
	io.WriteString(h, s)
	return h.Sum64()
}

// A moment is a time on two clocks. Within a boot, up counts: that clock cannot be set
// and goes on while the machine sleeps. On a system without one, up is the wall clock.
type moment struct {
	wall int64  // ns since 1970
	up   int64  // ns since the boot
	boot uint64 // which boot; 0 if unknown
}

// since returns the time from earlier to m, both of the same boot, and at least 0.
func (m moment) since(earlier moment) time.Duration {
	return time.Duration(max(0, m.up-earlier.up))
}

// A hold is a file with its kernel lock. Windows denies the locked byte, which is the
// first, to other processes and to our own other handle, so nothing is kept there.
type hold struct {
	file
	lock *flock.Flock
}

// grab locks the file at path, and creates it if it is missing. It returns nil if
// another process has the lock.
func (s *system) grab(path string) (*hold, error) {
	f, err := s.open(path)
	if err != nil {
		return nil, err
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDWR|syscall.O_NONBLOCK))
	ok, err := s.lock(lock)
	if ok {
		// The path led to f before the lock and leads to f now, so f is locked.
		if ok, err = f.at(path); ok {
			return &hold{f, lock}, nil
		}
		lock.Unlock()
	}
	f.Close()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // f was deleted meanwhile: the lock is that of the next file
	}
	return nil, err
}

// grabSoon is grab for as long as a process may take to end or to write a record.
func (s *system) grabSoon(path string) (*hold, error) {
	h, err := s.grab(path)
	for end := time.Now().Add(100 * time.Millisecond); h == nil && err == nil && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		h, err = s.grab(path)
	}
	return h, err
}

// release closes the file and unlocks it.
func (h *hold) release() error {
	return errors.Join(h.Close(), h.lock.Unlock())
}
