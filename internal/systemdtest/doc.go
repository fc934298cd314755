// Package systemdtest holds tests only: of units with programs on this module,
// under a real systemd.
//
// It runs as process 1 of private namespaces, on a throw-away root whose only
// parts of the host are /usr, read-only, and a few device nodes. What keeps the
// host safe:
//
//   - who builds the root refuses to unless it is process 1 of its namespace
//   - its mounts are private before the first one is made
//   - there are no units but the tests' own, and no generators: nothing cleans
//     temporary folders, sets the clock or loads modules
//   - /proc/sys and /sys are read-only, and so is all of /usr
//   - each run checks that a file in the host's temporary folder survives
//
// The network is the host's, so the programs listen on free loopback ports.
package systemdtest
