package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/restart"
)

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	for _, cut := range [][]string{{"ann"}, {"ann", "bob"}} {
		l := &restart.Ledger{Path: path, Policy: restart.Policy{Min: 1, Max: 1}}
		if err := l.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.End(errors.New("no network"), cut...)
	}
	var out, errs bytes.Buffer
	if status := run([]string{"ledger", path, path}, nil, &out, &errs); status != 0 || strings.Count(out.String(), "BEGAN") != 2 || strings.Count(out.String(), path) != 2 || errs.Len() > 0 {
		t.Errorf("status %d, said %s%s", status, out.String(), errs.String())
	}
	out.Reset()
	if status := run([]string{"ledger", "-json", path}, nil, &out, &errs); status != 0 || errs.Len() > 0 {
		t.Errorf("status %d, said %s%s", status, out.String(), errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatal(lines)
	}
	for i, line := range lines {
		var r struct {
			File   string
			Run    int
			Began  time.Time
			Cause  string
			Cut    int
			Again  int
			Lasted *float64 `json:"lasted_seconds"`
			Waited *float64 `json:"waited_seconds"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.File != path || r.Run != 1+2*i || r.Cause != "failed" || r.Cut != 1+i || r.Again != i || r.Lasted == nil || r.Waited == nil || time.Since(r.Began) > time.Hour {
			t.Errorf("%s: %+v, %v", line, r, err)
		}
	}
	out.Reset()
	if status := run([]string{"ledger", "-yaml", path}, nil, &out, &errs); status != 2 || errs.Len() == 0 {
		t.Errorf("status %d, said %s%s", status, out.String(), errs.String())
	}
}
