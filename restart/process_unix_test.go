//go:build unix

package restart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

// at names the environment variable with the path of a program's ledger or lock.
const at = "EVENKEEL_TEST_PATH"

// quick is a policy for processes for which a test waits.
var quick = Policy{Min: time.Microsecond, Max: time.Millisecond, Stable: time.Second, Jitter: -1, Logger: quiet}

func must(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func programs() map[string]func() {
	ctx := context.Background()
	logged := func(w io.Writer) Policy {
		p := quick
		p.Logger = slog.New(slog.NewTextHandler(w, nil))
		return p
	}
	all := map[string]func(){
		// runs begins and ends runs until it is killed, and says what is written.
		"runs": func() {
			l := Ledger{Path: os.Getenv(at), Policy: quick}
			fmt.Println("ready")
			for {
				must(l.Begin(ctx))
				seq := l.run.seq
				fmt.Println(seq)
				l.End(errRun, "ann", "bob")
				fmt.Println(seq + 1)
			}
		},
		"races": func() {
			l := Ledger{Path: os.Getenv(at), Policy: quick}
			for range 25 {
				must(l.Begin(ctx))
				if l.run.seq != 0 { // it has a record
					fmt.Println(l.run.seq)
				}
				l.End(errRun, "ann", "bob")
			}
		},
		"execs": func() {
			l := Ledger{Path: os.Getenv(at), Policy: quick}
			must(l.Begin(ctx))
			fmt.Println("run", l.run.run)
			if os.Getenv("EVENKEEL_TEST_AGAIN") == "" {
				self, err := os.Executable()
				must(err)
				must(syscall.Exec(self, os.Args, append(os.Environ(), "EVENKEEL_TEST_AGAIN=1")))
			}
		},
		"fills": func() {
			var log bytes.Buffer
			l := Ledger{Path: os.Getenv(at), Policy: logged(&log)}
			must(l.Begin(ctx))
			junk, err := os.Create(l.Path + ".junk")
			must(err)
			for size := 1 << 16; size > 0; size /= 2 {
				for err = nil; err == nil; {
					_, err = junk.Write(make([]byte, size))
				}
				if !errors.Is(err, syscall.ENOSPC) {
					must(err)
				}
			}
			l.End(nil, "ann")
			for range slots {
				must(l.Begin(ctx))
				l.End(nil, "bob")
			}
			fmt.Println(strings.Count(log.String(), "unavailable"), "warnings")
			log.Reset()
			none := Ledger{Path: l.Path + ".none", Policy: logged(&log)}
			must(none.Begin(ctx))
			none.End(nil)
			fmt.Println(strings.Contains(log.String(), syscall.ENOSPC.Error()) || none.run != nil)
		},
		// holds has the lock until SIGTERM.
		"holds": func() {
			term := make(chan os.Signal, 1)
			signal.Notify(term, syscall.SIGTERM)
			l := Lock{Path: os.Getenv(at), Logger: quiet}
			must(l.Acquire(ctx))
			fmt.Println("held")
			<-term
			must(l.Release(ctx))
			fmt.Println("released")
		},
		"asks": func() {
			l := Lock{Path: os.Getenv(at), Logger: quiet}
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			fmt.Println(l.Acquire(ctx))
		},
		"hands over": handsOver,
	}
	maps.Copy(all, boxPrograms())
	return all
}

// If a process is killed at any moment, its ring holds all that it wrote, except at
// most for the record of that moment.
func TestLedgerKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	t.Setenv(at, path)
	rounds, most := 500, uint64(0)
	if testing.Short() {
		rounds = 50
	}
	for i := range rounds {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			p := proctest.Start(t, "runs")
			p.Expect("ready")
			time.Sleep(rand.N(8 * time.Millisecond))
			p.Signal(syscall.SIGKILL)
			said, status := p.Ended()
			if status != 128+9 {
				t.Fatalf("status %d: %s", status, said)
			}
			h := records(t, path)
			last := uint64(0)
			for _, r := range h {
				last = max(last, r.seq)
			}
			for _, line := range strings.Fields(said) {
				seq, err := strconv.ParseUint(line, 10, 64)
				if err != nil || seq > last {
					t.Errorf("%q was written and is not the last, %d", line, last)
				}
			}
			if last < most || len(h) < int(min(last, slots))-1 {
				t.Errorf("%d records up to %d, which were up to %d", len(h), last, most)
			}
			most = last
		})
	}
	t.Log(most, "records in", rounds, "rounds")
}

// records reads a ring that must be in order.
func records(t *testing.T, path string) history {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, _, err := read(f)
	if info, err2 := f.Stat(); err != nil || err2 != nil || len(h) > 0 && info.Size() != ringSize {
		t.Fatal(err, err2, info)
	}
	return h
}

// Eight processes at once use no number twice and leave a whole ring.
func TestLedgerRaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	t.Setenv(at, path)
	var ps []*proctest.Process
	for range 8 {
		ps = append(ps, proctest.Start(t, "races"))
	}
	seen := map[string]bool{}
	for _, p := range ps {
		said, status := p.Ended()
		if status != 0 {
			t.Errorf("status %d: %s", status, said)
		}
		for _, seq := range strings.Fields(said) {
			if seen[seq] {
				t.Errorf("%s was given twice", seq)
			}
			seen[seq] = true
		}
	}
	h := records(t, path)
	var last uint64
	for _, r := range h {
		last = max(last, r.seq)
	}
	if len(h) != slots || len(seen) < 100 {
		t.Errorf("%d records, up to %d; %d starts", len(h), last, len(seen))
	}
}

// A process that replaces itself continues its run. Another process with its id, which
// is 1 in every container, does not.
func TestLedgerExec(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	t.Setenv(at, path)
	said, _ := proctest.Start(t, "execs").Ended()
	if said != "run 1\nrun 1\n" || len(records(t, path)) != 1 {
		t.Errorf("%q, %d records", said, len(records(t, path)))
	}
	if why := no("unshare"); why != "" {
		t.Log("not as process 1 of two namespaces:", why)
		return
	}
	t.Setenv("EVENKEEL_TEST_AGAIN", "1")
	for _, want := range []string{"run 3\n", "run 5\n"} { // with the ends of those that died
		if said, _ := proctest.Start(t, "execs", "unshare", "-p", "-f", "--mount-proc", "--kill-child").Ended(); said != want {
			t.Errorf("%q, want %q", said, want)
		}
	}
}

// A process with the reused id of a dead one is another process.
func TestLedgerProcessIDReused(t *testing.T) {
	if why := no("unshare"); why != "" {
		t.Skip("skipped: no process ids to give:", why)
	}
	path := filepath.Join(t.TempDir(), "ledger")
	t.Setenv(at, path)
	t.Setenv("EVENKEEL_TEST_AGAIN", "1")
	said, _ := proctest.Start(t, "execs", "unshare", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c",
		`for i in 1 2; do sleep 0.05; echo 99 >/proc/sys/kernel/ns_last_pid || exit; "$0"; done`).Ended()
	if strings.Contains(said, "ns_last_pid") {
		t.Skip("skipped: no process ids to give:", said)
	}
	h := records(t, path)
	if said != "run 1\nrun 3\n" || h[0].pid != 100 || h[len(h)-1].pid != 100 {
		t.Errorf("%q, %+v", said, h)
	}
}

// no returns why we cannot have our own namespaces.
func no(tools ...string) string {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return "it takes root on Linux"
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return err.Error()
		}
	}
	if out, err := exec.Command("unshare", "-m", "-p", "-f", "true").CombinedOutput(); err != nil {
		return fmt.Sprintf("unshare: %v: %s", err, out)
	}
	return ""
}

// On a full disk, an existing ring goes on, and a missing one costs a warning. Only the
// program sees the mounted disks.
func TestLedgerFullDisk(t *testing.T) {
	for name, mount := range map[string]string{
		"tmpfs": "mount -t tmpfs -o size=256k none %[1]s/disk",
		"ext4":  "truncate -s 4M %[1]s/image && mkfs.ext4 -q %[1]s/image && mount -o loop %[1]s/image %[1]s/disk",
	} {
		t.Run(name, func(t *testing.T) {
			if why := no("unshare", "mount", "mkfs.ext4"); why != "" {
				t.Skip("skipped: no disk of our own to fill:", why)
			}
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "disk"), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv(at, filepath.Join(dir, "disk", "ledger"))
			p := proctest.Start(t, "fills", "unshare", "-m", "sh", "-c", fmt.Sprintf(mount, dir)+` && exec "$0"`)
			if said, status := p.Ended(); said != "0 warnings\ntrue\n" || status != 0 {
				t.Errorf("status %d: %s", status, said)
			}
		})
	}
}
