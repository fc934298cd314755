// Package judges has only tests: of drain.Server against load balancers, a browser,
// WebSocket and HTTP/3 libraries and features of net/http, as others made them. What is not
// installed is skipped.
package judges
