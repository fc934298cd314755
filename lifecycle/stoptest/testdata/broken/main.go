//go:build unix

// Broken is 16 small servers. Each stops well, but for one mistake:
//
//	broken -mistake "cuts at once" -addr 127.0.0.1:8080 -dir /tmp
//
// Without -mistake nothing is wrong. With -list it prints each mistake and the promises
// that it breaks, as JSON. They were written down before the servers were first run.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

func main() {
	name := flag.String("mistake", "", "the `name` of the one to make")
	addr := flag.String("addr", "127.0.0.1:8080", "listen on `HOST:PORT`")
	dir := flag.String("dir", ".", "the `folder` of the jobs")
	list := flag.Bool("list", false, "print the mistakes")
	flag.Parse()

	breaks := map[string][]stoptest.Promise{"": {}}
	s := newServer(*addr, *dir)
	for _, m := range mistakes {
		breaks[m.name] = m.breaks
		if m.name == *name {
			m.make(s)
		}
	}
	switch {
	case *list:
		if err := json.NewEncoder(os.Stdout).Encode(breaks); err != nil {
			log.Fatal(err)
		}
	case breaks[*name] == nil:
		fmt.Fprintf(os.Stderr, "no mistake %q; -list prints them\n", *name)
		os.Exit(2)
	default:
		os.Exit(lifecycle.ExitCode(s.run()))
	}
}
