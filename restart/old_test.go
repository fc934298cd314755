package restart

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A ledger from before its hashes were SipHash is read and continued: two runs that
// failed with ann and bob cut, and one that died. Only the sessions of those runs are
// not recognized.
func TestLedgerOfOldHashes(t *testing.T) {
	old, err := os.ReadFile("testdata/ledger-sha256")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, append(old, make([]byte, ringSize-len(old))...), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	p := Policy{Min: 1, Max: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	for i, again := range []bool{false, true} {
		log.Reset()
		l := &Ledger{Path: path, Policy: p}
		if err := l.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == 0 && l.run.run != 7 {
			t.Errorf("run %d, want 7", l.run.run)
		}
		l.End(errRun, "ann", "cid")
		if got := log.String(); strings.Contains(got, "unavailable") || strings.Contains(got, `"sessions cut again" sessions=2 runs=2`) != again {
			t.Errorf("run %d: %s", i, got)
		}
	}
	runs, err := (&Ledger{Path: path}).Runs()
	if err != nil || len(runs) != 5 {
		t.Fatal(runs, err)
	}
	for i, want := range []Run{{Cause: Failed, Cut: 2}, {Cause: Failed, Cut: 2, Again: 2}, {Cause: Died}, {Cause: Failed, Cut: 2}, {Cause: Failed, Cut: 2, Again: 2}} {
		if r := runs[i]; r.Cause != want.Cause || r.Cut != want.Cut || r.Again != want.Again || r.Had("ann") != (i > 2) {
			t.Errorf("%d: %+v", i, r)
		}
	}
}
