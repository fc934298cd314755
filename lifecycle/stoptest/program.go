package stoptest

import (
	"context"
	"io"
	"os"
	"os/exec"
	"time"
)

// A Program is what is stopped, and how. The zero value of each field is useful.
type Program struct {
	// Command makes the command of a life. Nil means to build Package and to run it with
	// Args. Env, if nil, is that of this process; TMPDIR is replaced by a folder of the
	// life's own. Dir, if "", is Life.Dir. Standard input must be nil; output is collected
	// besides going to where Command wants it.
	Command func(*Life) *exec.Cmd

	// Package is the main package to build, as go build takes it. "" means the folder of
	// the test. Build are flags of go build, such as -race and -cover; the latter writes
	// to GOCOVERDIR. Args are expanded as Life.Expand does it.
	Package string
	Build   []string
	Args    []string

	// Addr is where the program listens. "" means a free loopback address, the same one
	// in all lives.
	Addr string

	// Ready says when a life has started: a URL that answers with 2xx, expanded as
	// Life.Expand does it, or its path only, which is one at {addr}. Besides, {addr} must
	// accept connections. "" means that this is enough; then readiness is not judged.
	Ready string

	// Load is what the clients do. Each load has two clients: one keeps its connection,
	// the other takes a new one for each call.
	Load []Load

	// Lives is how often the program is stopped. 0 means each moment once. Seed says at
	// which moment to begin: life number i has Seed+i, which gives its moment and its
	// delays. The first seeds try the moments in their order, SIGTERM before SIGINT;
	// later ones vary them at random.
	Lives int
	Seed  uint64

	// Budget is the time from the first signal to the exit. 0 means 30 s, the grace
	// period of Kubernetes. Start is the time a life takes to get ready; 0 means 30 s.
	// A program that waits longer the more often it failed needs more: to such a program
	// the lives that are killed or forced look like a crash loop.
	Budget, Start time.Duration

	// Signals ask for an orderly stop. Nil means SIGTERM and SIGINT. Others are sent only
	// if they are named, as SIGHUP reloads most servers.
	Signals []os.Signal

	// Except are promises that the program does not make. They are judged and counted, but
	// a broken one is no finding.
	Except []Promise

	// Acknowledged returns an error if work is missing that the program acknowledged to
	// this load in earlier lives. It is called in each life but the first, when the
	// program is ready and before any load. Its context ends after Start, and it must return
	// then: Check waits for it. Nil means that it is not judged.
	Acknowledged func(context.Context, *Life) error

	// Progress gets a line for each life. Nil means none.
	Progress io.Writer
}

// A Life is one run of a Program, as its Command and Acknowledged see it.
type Life struct {
	Number int    // from 0
	Seed   uint64 // a Program with this Seed and one life repeats it
	Addr   string // where the program listens, HOST:PORT
	Dir    string // for the program's state; the same folder in all lives

	expand func(name string) string
}

// Expand replaces names in braces: {addr} and {dir} by Addr and Dir, {port} by the port
// of Addr, and any other, such as {admin}, by a further free loopback address.
// A name has lower-case letters and digits. It stands for the same in all lives.
func (l *Life) Expand(s string) string {
	return names.ReplaceAllStringFunc(s, func(name string) string { return l.expand(name[1 : len(name)-1]) })
}
