//go:build !unix

package drain_test

func openFiles() int { return 1 << 20 }
