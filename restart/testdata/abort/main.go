// Abort has the sessions of its arguments in flight and ends in C code.
package main

// #include <stdlib.h>
import "C"

import (
	"context"
	"os"

	"github.com/evenkeel-go/evenkeel/restart"
)

func main() {
	ledger := restart.Ledger{Path: os.Args[1], CrashOutput: os.Args[2] == "crash"}
	box := ledger.Box()
	if err := ledger.Begin(context.Background()); err != nil {
		panic(err)
	}
	for _, session := range os.Args[3:] {
		box.Enter(session)
	}
	C.abort()
}
