package systemdtest

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

const ms = time.Millisecond

func TestSystemd(t *testing.T) {
	m := boot(t)
	t.Run("units", func(t *testing.T) { // ends before the manager does
		for name, f := range map[string]func(*testing.T, *manager){
			"ready": ready, "falling": falling, "failing": failing, "stuck": stuck, "loop": loop, "unthrottled": unthrottled,
			"results": results, "watchdog": watchdog, "sessions": sessions, "lock": waitsForLock,
			"activation": activation, "unactivated": unactivated, "model": model,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f(t, m)
			})
		}
	})
}

// systemctl start returns when Start has.
func ready(t *testing.T, m *manager) {
	u := m.service(t, "slow", nil, "TimeoutStartSec=10", "")
	if took := u.ctl("start"); took < 700*ms {
		t.Errorf("started in %v", took)
	}
	if got := u.show("SubState StatusText NRestarts"); got != "running running 0" {
		t.Error(got)
	}
	u.ctl("stop")
	if got := u.show("ActiveState"); got != "inactive" { // and not failed
		t.Error(got)
	}
}

// A drain of 2.5 s survives a TimeoutStopSec of 1 s while work ends.
func falling(t *testing.T, m *manager) {
	u := m.service(t, "queue", nil, "TimeoutStopSec=1", "")
	u.ctl("start")
	begin := time.Now()
	u.ctl("stop", "--no-block")
	u.until("SubState StatusText", "stop-sigterm draining: 2*") // 26 left, or a little less
	u.until("ActiveState", "inactive")                          // and not failed
	if took := time.Since(begin); took < 2500*ms {
		t.Errorf("it took %v", took)
	}
}

// A drain that no signal began survives it too, and systemd shows it in the same way.
func failing(t *testing.T, m *manager) {
	u := m.service(t, "queue", []string{"FAIL=1"}, "TimeoutStopSec=1\nRestartSec=10", "")
	u.ctl("start")
	u.until("SubState StatusText", "stop-sigterm draining: 2*")
	u.until("SubState", "auto-restart")
	if got := u.show("Result ExecMainStatus"); got != "exit-code 1" {
		t.Error(got)
	}
}

// A stuck drain is killed before its budget of 25 s is over: if nothing ends for 5 s, it
// gets no more than 5 s.
func stuck(t *testing.T, m *manager) {
	u := m.service(t, "queue", []string{"STUCK=1"}, "TimeoutStopSec=1", "")
	u.ctl("start")
	took := u.ctl("stop")
	if got := u.show("Result ExecMainStatus"); got != "timeout 9" || took < 5*time.Second || took > 15*time.Second {
		t.Errorf("%s after %v", got, took)
	}
}

// systemd's default limit of five starts in 10 s, and the ledger's defaults, five
// times as fast.
const limit = "StartLimitIntervalSec=2\nStartLimitBurst=5"

// A crash loop is slowed by the ledger: it never hits the limit of starts, and
// its waits, which get longer than TimeoutStartSec, do not hit that.
func loop(t *testing.T, m *manager) {
	u := m.service(t, "crash", []string{"CRASH=always", "LEDGER=1"}, "TimeoutStartSec=1", limit)
	u.ctl("start")
	u.until("NRestarts SubState Result StatusText", "5 start success waiting until *") // for 3 s
	u.until("NRestarts SubState Result", "6 start success")
	if took := u.ctl("stop"); took > 2*time.Second {
		t.Errorf("in the wait, the stop took %v", took)
	}
	if got := u.show("ActiveState"); got != "inactive" { // and not failed
		t.Error(got)
	}
	want := []time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3000 * ms}
	var last int64
	begun := strings.Fields(u.read("begun"))
	for i, s := range begun {
		at, _ := strconv.ParseInt(s, 10, 64)
		if gap := time.Duration(at-last) * ms; i > 0 && (gap < want[i-1]+50*ms || gap > want[i-1]+2*time.Second) {
			t.Errorf("run %d begins %v after the one before", i+1, gap)
		}
		last = at
	}
	if len(begun) != len(want)+1 {
		t.Errorf("%d runs", len(begun))
	}
}

// The same loop without the ledger is over at once.
func unthrottled(t *testing.T, m *manager) {
	u := m.service(t, "crash", []string{"CRASH=always"}, "", limit)
	u.ctl("start")
	u.until("ActiveState Result NRestarts", "failed exit-code 5")
	if n := len(strings.Fields(u.read("begun"))); n != 5 {
		t.Errorf("%d runs", n)
	}
}

// The state of a unit after its program has ended.
func results(t *testing.T, m *manager) {
	for how, want := range map[string]string{
		"once":      "active running success 1 0", // a task failed: an orderly drain, and 1
		"panic":     "active running success 1 0",
		"end":       "inactive dead success 0 0",
		"permanent": "failed failed exit-code 0 78",
		"never":     "active running success 0 0",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			u := m.service(t, "crash", []string{"CRASH=" + how}, "RestartPreventExitStatus=78", "")
			u.ctl("start")
			const properties = "ActiveState SubState Result NRestarts ExecMainStatus"
			time.Sleep(200 * ms)
			u.until(properties, want)
			if how != "never" {
				return
			}
			u.ctl("kill", "-s", "KILL")
			u.until(properties, "active running success 1 0")
			u.ctl("stop")
			u.until("ActiveState", "inactive")
		})
	}
}

// The watchdog ends a service that is wedged, with the stacks of its goroutines,
// and leaves a well one alone.
func watchdog(t *testing.T, m *manager) {
	u := m.service(t, "wedge", nil, "WatchdogSec=600ms\nTimeoutAbortSec=5", "")
	u.ctl("start")
	u.until("NRestarts SubState", "1 running")
	if log := u.read("log"); !strings.Contains(log, "SIGABRT: abort") || !strings.Contains(log, "lifecycle/systemd.go") {
		t.Error("the wedged one left no stacks")
	}
	time.Sleep(2 * time.Second)
	if got := u.show("NRestarts SubState WatchdogUSec"); got != "1 running 600ms" {
		t.Error(got)
	}
}

// A process waits for a lock without a limit, and names the holder.
func waitsForLock(t *testing.T, m *manager) {
	holder := m.service(t, "second", nil, "", "")
	holder.ctl("start")
	waiter := m.service(t, "second", nil, "TimeoutStartSec=1", "")
	waiter.ctl("start", "--no-block")
	time.Sleep(2500 * ms)
	waiter.until("SubState NRestarts StatusText", "start 0 waiting: the lock, held by pid "+holder.show("MainPID")+" *")
	holder.ctl("stop")
	waiter.until("SubState NRestarts", "running 0")
	waiter.ctl("stop")
}

// webUnit returns a started server. If wanted, systemd has its socket.
func webUnit(t *testing.T, m *manager, socket bool) (u *unit, url string) {
	addr := freeAddr(t)
	u = m.service(t, "web", []string{"ADDR=" + addr}, "", "StartLimitIntervalSec=0")
	if socket {
		u.file(".socket", "[Socket]\nListenStream="+addr+"\n")
		if out, err := m.do("systemctl", "start", u.name+".socket"); err != nil {
			t.Fatal(out)
		}
		t.Cleanup(func() { m.do("systemctl", "stop", u.name+".socket") })
	}
	if u.ctl("start"); t.Failed() {
		t.FailNow()
	}
	return u, "http://" + addr
}

// systemctl restart cuts no session: each gets its goodbye, and reconnects.
func sessions(t *testing.T, m *manager) {
	u, url := webUnit(t, m, true)
	const n = 20
	var wg sync.WaitGroup
	var open, well atomic.Int64
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	for range n {
		wg.Go(func() {
			pids := ""
			for range 2 { // each restart ends one
				r, err := client.Get(url + "/events")
				if err != nil {
					t.Error(err)
					return
				}
				open.Add(1)
				last := ""
				lines := bufio.NewScanner(r.Body)
				for lines.Scan() {
					if line := lines.Text(); line != "" {
						if last == "" {
							pids += line + " "
						}
						last = line
					}
				}
				r.Body.Close()
				if last == "event: goodbye" && lines.Err() == nil {
					well.Add(1)
				}
			}
			if f := strings.Fields(pids); len(f) != 4 || f[1] == f[3] {
				t.Errorf("served by %q", pids)
			}
		})
	}
	for i := range 2 {
		for open.Load() < int64(i+1)*n && !t.Failed() {
			time.Sleep(10 * ms)
		}
		u.ctl("restart")
	}
	wg.Wait()
	if got := u.show("Result NRestarts"); well.Load() != 2*n || got != "success 0" {
		t.Errorf("%d of %d sessions ended well; %s", well.Load(), 2*n, got)
	}
}

// restarts asks on 1,000 connections or more while it restarts the unit five
// times or more, and returns how many of them had no answer.
func restarts(t *testing.T, u *unit, url string) (asked, failed int64) {
	var n, bad atomic.Int64
	var over atomic.Bool
	var wg sync.WaitGroup
	pids := sync.Map{}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	for range 8 {
		wg.Go(func() {
			for !over.Load() {
				r, err := client.Get(url)
				n.Add(1)
				if err != nil {
					bad.Add(1)
					time.Sleep(ms)
					continue
				}
				if body, err := io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK {
					bad.Add(1)
				} else {
					pids.Store(string(body), true)
				}
				r.Body.Close()
			}
		})
	}
	done := 0
	for ; done < 5 || n.Load() < 1000; done++ {
		time.Sleep(50 * ms)
		u.ctl("restart")
	}
	over.Store(true)
	wg.Wait()
	instances := 0
	pids.Range(func(any, any) bool { instances++; return true })
	if got := u.show("Result NRestarts SubState"); got != "success 0 running" || instances < 5 {
		t.Errorf("%s; %d instances answered", got, instances)
	}
	t.Logf("%d connections, %d restarts, %d instances: %d without an answer", n.Load(), done, instances, bad.Load())
	return n.Load(), bad.Load()
}

// No connection is refused while the service restarts.
func activation(t *testing.T, m *manager) {
	u, url := webUnit(t, m, true)
	if _, failed := restarts(t, u, url); failed > 0 {
		t.Errorf("%d connections had no answer", failed)
	}
}

// Without the socket, some connections have no answer.
func unactivated(t *testing.T, m *manager) {
	u, url := webUnit(t, m, false)
	if asked, failed := restarts(t, u, url); failed == 0 {
		t.Errorf("all %d connections had an answer", asked)
	}
}

// The model unit of docs, as it is: its socket starts it, and a connection that
// comes while the ledger makes it wait after a crash has its answer, from the
// next instance.
func model(t *testing.T, m *manager) {
	u := &unit{m, t, "evenkeel"}
	addr := freeAddr(t)
	for suffix, replace := range map[string][]string{
		".service": {"ExecStart=/usr/local/bin/evenkeel", "ExecStart=/svc/test\nEnvironment=ADDR=" + addr + " " + proctest.Env("web")},
		".socket":  {"ListenStream=8080", "ListenStream=" + addr},
	} {
		text, err := os.ReadFile("../../docs/evenkeel" + suffix)
		if err != nil {
			t.Fatal(err)
		}
		u.file(suffix, strings.NewReplacer(replace...).Replace(string(text)))
	}
	if out, err := m.do("systemctl", "start", "evenkeel.socket"); err != nil {
		t.Fatal(out)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	ask := func() string {
		r, err := client.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		pid, _ := io.ReadAll(r.Body)
		return string(pid)
	}
	first := ask()
	begin := time.Now()
	u.ctl("kill", "-s", "KILL")
	if second := ask(); second == first || time.Since(begin) < time.Second {
		t.Errorf("pid %s after %s, after %v", second, first, time.Since(begin))
	}
	if got, want := u.show("SubState NRestarts Result StatusText MainPID WatchdogUSec"), "running 1 success running "+ask()+" 30s"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	if out, err := m.do("stat", "-L", "-c", "%s", "/var/lib/evenkeel/ledger"); out != "16384" {
		t.Errorf("the ledger: %s, %v", out, err)
	}
	m.do("systemctl", "stop", "evenkeel.socket")
	u.ctl("stop")
	u.until("ActiveState", "inactive")
}
