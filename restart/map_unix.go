//go:build linux || darwin

package restart

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped is system.mapped. It is from x/sys, because package syscall cannot put
// memory in the place of a mapping.
func mapped(f file) (unsafe.Pointer, error) {
	return unix.MmapPtr(int(f.Fd()), 0, nil, boxSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// detach puts private memory in the place of a mapped file, in one step. It stays
// there until the process ends, and no later run is mapped there: a goroutine that is
// late stores into no file. So each run leaves 64 KiB of addresses behind, and memory
// only if a store was late.
func detach(place unsafe.Pointer) {
	unix.MmapPtr(-1, 0, place, boxSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANON)
}
