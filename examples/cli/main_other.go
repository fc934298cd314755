//go:build !unix

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "cli: needs a Unix terminal")
	os.Exit(1)
}
