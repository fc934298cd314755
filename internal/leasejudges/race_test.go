//go:build race

package leasejudges

const raceEnabled = true
