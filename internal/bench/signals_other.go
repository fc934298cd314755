//go:build !unix

package main

var signals []comparison // a process cannot send itself signals
