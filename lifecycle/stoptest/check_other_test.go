//go:build !unix || aix || solaris

package stoptest

var programs map[string]func() // none, as they are stopped by signals
