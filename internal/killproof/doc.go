// Package killproof has only tests, of the black box and the server together: what the
// next process knows after a SIGKILL, and how long a session can go on killing. The full
// runs take minutes:
//
//	go test ./internal/killproof -run Kills -kills 1000 -v -timeout 30m
//	go test ./internal/killproof -run Killer -runs 100 -v -timeout 30m
package killproof
