// Package judges has only tests, of drain.Server with programs of other projects: load
// balancers, a browser, WebSocket and HTTP/3 libraries, and features of net/http. Tests
// of programs that are not installed are skipped.
package judges
