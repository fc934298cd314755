// Package systemdtest has only tests, of units with programs of this module under a real
// systemd.
//
// That systemd is process 1 of new namespaces, on a throw-away root. The root's only
// parts of the host are /usr, read-only, and a few device nodes. These rules keep the
// host safe:
//
//   - a process builds the root only if it is process 1 of its namespace
//   - its mounts are private before the first one is made
//   - there are no units but the tests' own, and no generators: nothing cleans
//     temporary folders, sets the clock or loads modules
//   - /proc/sys and /sys are read-only, and so is all of /usr
//   - each run checks that a file in the host's temporary folder survives
//
// The network is the host's, so the programs listen on free loopback ports.
package systemdtest
