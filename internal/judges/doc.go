// Package judges has only tests: of drain.Server against load balancers, a browser,
// a WebSocket library and features of net/http, as others made them. What is not
// installed is skipped.
package judges
