package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args   string
		status int
		out    string // part of what it says
	}{
		{"", 2, "usage:"},
		{"help", 0, "evenkeel ledger [-json] file"},
		{"prune", 2, `no command "prune"`},
		{"ledger", 2, "name the Path of a restart.Ledger"},
		{"ledger none/such", 1, "no such file"},
	} {
		var out, errs bytes.Buffer
		if status := run(strings.Fields(tt.args), nil, &out, &errs); status != tt.status || !strings.Contains(out.String()+errs.String(), tt.out) {
			t.Errorf("evenkeel %s: status %d, said %s%s", tt.args, status, out.String(), errs.String())
		}
	}
}
