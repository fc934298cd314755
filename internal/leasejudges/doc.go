// Package leasejudges tests restart.Lease against programs that others made: a checker
// of linearizability, and the engines that keep its register.
package leasejudges
