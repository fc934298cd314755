//go:build !linux && !darwin

package restart

import "unsafe"

// mapped is nil: without a boot id, no process can know whether a file is of a run that
// died or of one before the boot.
var mapped func(file) (unsafe.Pointer, error)

func detach(unsafe.Pointer) {}
