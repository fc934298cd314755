package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel-go/evenkeel/restart"
)

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args   string
		status int
		out    string // part of what it says
	}{
		{"", 2, "usage:"},
		{"help", 0, "evenkeel ledger file"},
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

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := &restart.Ledger{Path: path}
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.End(nil)
	var out, errs bytes.Buffer
	if status := run([]string{"ledger", path, path}, nil, &out, &errs); status != 0 || strings.Count(out.String(), "BEGAN") != 2 || errs.Len() > 0 {
		t.Errorf("status %d, said %s%s", status, out.String(), errs.String())
	}
}
