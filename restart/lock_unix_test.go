//go:build unix

package restart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

const turns = 1000

// handsOver holds the lock in turn with others, and writes its process id into a
// file each time.
func handsOver() {
	l := Lock{Path: os.Getenv(at), Logger: quiet}
	inside, log := l.Path+".inside", l.Path+".log"
	me := strconv.Itoa(os.Getpid())
	for {
		must(l.Acquire(context.Background()))
		// The only one in here.
		f, err := os.OpenFile(inside, os.O_CREATE|os.O_EXCL, 0o600)
		must(err)
		f.Close()
		said, err := os.ReadFile(log)
		if !errors.Is(err, os.ErrNotExist) {
			must(err)
		}
		pids := strings.Fields(string(said))
		if n := len(pids); n <= turns && (n == 0 || pids[n-1] != me) {
			pids = append(pids, me)
			must(os.WriteFile(log, []byte(strings.Join(pids, "\n")), 0o600))
		}
		must(os.Remove(inside))
		must(l.Release(context.Background()))
		if len(pids) > turns {
			return
		}
		time.Sleep(time.Millisecond) // the next turn is another's
	}
}

// The lock changes hands between processes 1,000 times, and never has two holders.
func TestLockHandsOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	t.Setenv(at, path)
	var ps []*proctest.Process
	for range 4 {
		ps = append(ps, proctest.Start(t, "hands over"))
	}
	for _, p := range ps {
		if said, status := p.Ended(); status != 0 {
			t.Errorf("status %d: %s", status, said)
		}
	}
	said, err := os.ReadFile(path + ".log")
	pids := strings.Fields(string(said))
	holders := map[string]int{}
	for i, pid := range pids {
		if holders[pid]++; i > 0 && pid == pids[i-1] {
			t.Fatal("twice the same in a row")
		}
	}
	if err != nil || len(pids) != turns+1 || len(holders) != 4 {
		t.Errorf("%d holders in turn: %v, %v", len(pids), holders, err)
	}
}

// A killed holder frees the lock and causes a linger. One that ends well causes none.
func TestLockKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	t.Setenv(at, path)
	for signal, want := range map[os.Signal]int{syscall.SIGKILL: 1, syscall.SIGTERM: 0} {
		p := proctest.Start(t, "holds")
		p.Expect("held")
		time.AfterFunc(20*time.Millisecond, func() { p.Signal(signal) })
		var log bytes.Buffer
		begin := time.Now()
		l := acquired(t, &Lock{Path: path, Linger: 300 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if n := strings.Count(log.String(), "lock lingers"); n != want || n > 0 && time.Since(begin) < l.Linger {
			t.Errorf("%v: acquired %v later; %s", signal, time.Since(begin), &log)
		}
		released(t, l)
		p.Ended()
	}
}

// Two processes with the same id in two namespaces are different holders.
func TestLockNamespaces(t *testing.T) {
	if why := no("unshare"); why != "" {
		t.Skip("skipped: no process id twice:", why)
	}
	t.Setenv(at, filepath.Join(t.TempDir(), "lock"))
	p := proctest.Start(t, "holds", "unshare", "-p", "-f", "--kill-child")
	p.Expect("held")
	said, _ := proctest.Start(t, "asks", "unshare", "-p", "-f", "--kill-child").Ended()
	if !strings.Contains(said, "held by pid 1 since") {
		t.Errorf("%q", said)
	}
	p.Signal(syscall.SIGKILL)
	p.Ended()
	for range 100 { // the end of its child comes a moment later
		if said, _ = proctest.Start(t, "asks").Ended(); said == fmt.Sprintln(nil) {
			return
		}
	}
	t.Errorf("%q after the holder's end", said)
}
