package restart

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// Sessions that two runs in a row cut are counted, and kept before others. The file
// does not name them.
func TestLedgerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := 0
		many := func(names ...string) []string {
			for range 20 {
				n++
				names = append(names, fmt.Sprint("many", n))
			}
			return names
		}
		for i, tt := range []struct {
			cut  []string // nil: dies
			want string
		}{
			{[]string{"ann", "bob"}, ""},
			{[]string{"bob", "bob", "cid"}, "sessions=1 runs=2"},
			{many("bob", "cid"), "sessions=2 runs=3"},
			{many("bob", "cid"), "sessions=2 runs=4"},
			{[]string{"dan"}, ""},
			{[]string{"bob"}, ""},
			{nil, ""},
			{[]string{"bob"}, ""},
		} {
			l, _ := w.begin(t)
			w.log.Reset()
			if tt.cut != nil {
				l.stop(tt.cut...)
			}
			if got := w.log.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) || strings.Contains(got, "unavailable") {
				t.Errorf("run %d: %q, want %q", i, got, tt.want)
			}
		}
		b, err := os.ReadFile(w.path)
		if err != nil || len(b) != ringSize || bytes.Contains(b, []byte("bob")) || bytes.Contains(b, []byte("many")) {
			t.Error("the file names who was cut", err)
		}
		other := newWorld(t)
		a, _ := w.begin(t)
		o, _ := other.begin(t)
		if a.run.salt.mark("bob") == o.run.salt.mark("bob") {
			t.Error("two ledgers with one salt")
		}
	})
}

func TestLedgerTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.ledger().Table(); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		for _, end := range []func(*Ledger){
			func(l *Ledger) { l.stop("ann") },
			func(l *Ledger) { l.End(nil) },
			func(l *Ledger) { l.stop("ann") },
			func(l *Ledger) { l.End(errRun, "ann", "bob") },
			func(l *Ledger) { l.End(Permanent(errRun)) },
			func(l *Ledger) { l.End(&drain.PanicError{}) },
			func(*Ledger) {},
			func(*Ledger) {},
		} {
			l, _ := w.begin(t)
			time.Sleep(1500 * time.Millisecond)
			end(l)
		}
		before, err := os.ReadFile(w.path)
		if err != nil {
			t.Fatal(err)
		}
		// Also while another process has the lock.
		h, err := w.grab(w.path)
		if h == nil || err != nil {
			t.Fatal(err)
		}
		defer h.release()
		table, err := w.ledger().Table()
		want := `BEGAN                     LEVEL  WAITED  PID  LASTED  END        CUT
2000-01-01T00:00:00.000Z  0      0s      PID  1.5s    stopped    1
2000-01-01T00:00:01.500Z  0      0s      PID  1.5s    ended      0
2000-01-01T00:00:04.000Z  1      1s      PID  1.5s    stopped    1
2000-01-01T00:00:05.500Z  1      0s      PID  1.5s    failed     2, 1 again
2000-01-01T00:00:09.000Z  2      2s      PID  1.5s    permanent  0
2000-01-01T00:00:14.500Z  3      4s      PID  1.5s    panicked   0
2000-01-01T00:00:24.000Z  4      8s      PID  1.5s    died       0
2000-01-01T00:00:41.500Z  5      16s     PID          open
`
		table = strings.ReplaceAll(table, fmt.Sprint(" ", os.Getpid(), " "), " PID ")
		if err != nil || strings.Join(strings.Fields(table), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%v\n%s\nwant\n%s", err, table, want)
		}
		if after, err := os.ReadFile(w.path); err != nil || !bytes.Equal(before, after) {
			t.Error("the reader has changed the file", err)
		}
	})
}

// If old records were overwritten, the table shows what is left.
func TestLedgerTableRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l, _ := w.begin(t)
		for range 40 {
			o, _ := w.begin(t)
			o.stop()
		}
		l.End(nil)
		table, err := l.Table()
		if n := strings.Count(table, "\n"); err != nil || n < 32 || n > 34 {
			t.Errorf("%d lines, %v\n%s", n, err, table)
		}
		if !strings.Contains(table, "?") {
			t.Errorf("the first run's start is not gone\n%s", table)
		}
	})
}
