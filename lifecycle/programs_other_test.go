//go:build !unix

package lifecycle

func programs() {}
