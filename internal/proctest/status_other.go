//go:build !unix

package proctest

import "os"

func status(s *os.ProcessState) int { return s.ExitCode() }
