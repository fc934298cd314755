// Package judges has only tests: of drain.Server against load balancers,
// a browser and a WebSocket library, as others made them. What is not installed
// is skipped.
package judges
