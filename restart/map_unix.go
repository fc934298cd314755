//go:build linux || darwin

package restart

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped is system.mapped. It is from x/sys, because package syscall cannot map to a
// place.
func mapped(f file, place unsafe.Pointer) (unsafe.Pointer, error) {
	flags := unix.MAP_SHARED
	if place != nil {
		flags |= unix.MAP_FIXED
	}
	return unix.MmapPtr(int(f.Fd()), 0, place, boxSize, unix.PROT_READ|unix.PROT_WRITE, flags)
}

// detach puts private memory in the place of a mapped file, in one step: a goroutine
// that is late stores into nothing.
func detach(place unsafe.Pointer) {
	unix.MmapPtr(-1, 0, place, boxSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANON)
}
