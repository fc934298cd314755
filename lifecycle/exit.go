package lifecycle

import "github.com/evenkeel-go/evenkeel/internal/wire"

// ExitCode returns the exit status for what [Group.Run] returned: 0 for nil; 78
// where a restart cannot mend it (restart.Permanent), which a unit's
// RestartPreventExitStatus=78 tells systemd; else 1. An error that came with a
// stop is an error: only nil is 0.
//
// 78 is EX_CONFIG of BSD's sysexits.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case wire.IsPermanent(err):
		return 78
	}
	return 1
}
