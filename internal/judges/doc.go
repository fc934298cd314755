// Package judges has nothing but tests: of drain.Server against a load balancer,
// a browser and a WebSocket library, as others made them. What is not installed
// is skipped.
package judges
