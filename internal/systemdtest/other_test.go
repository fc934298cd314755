//go:build !linux

package systemdtest

import "testing"

func TestSystemd(t *testing.T) { t.Skip("skipped: systemd needs Linux") }
