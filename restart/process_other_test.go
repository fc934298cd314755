//go:build !unix

package restart

func programs() map[string]func() { return nil }
