package evenkeel_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

// A model is a file in docs. Its settings are "Name=value" or "name: value".
type model struct {
	t    *testing.T
	text string
}

func readModel(t *testing.T, name string) model {
	b, err := os.ReadFile(filepath.Join("docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return model{t, string(b)}
}

// value returns the one setting of that name behind the text after.
func (m model) value(after, name string) string {
	m.t.Helper()
	_, text, ok := strings.Cut(m.text, after)
	found := regexp.MustCompile(`(?m)^[^#\n]*\b` + name + `(?:=|: )([^,}\n]+)`).FindStringSubmatch(text)
	if !ok || found == nil {
		m.t.Fatalf("no %s %s", after, name)
	}
	return found[1]
}

func (m model) number(after, name string) int {
	m.t.Helper()
	n, err := strconv.Atoi(m.value(after, name))
	if err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	return n
}

func (m model) seconds(after, name string) time.Duration {
	m.t.Helper()
	return time.Duration(m.number(after, name)) * time.Second
}

// patience is how long a probe fails before the kubelet believes it.
func (m model) patience(probe string) time.Duration {
	m.t.Helper()
	return m.seconds(probe, "periodSeconds") * time.Duration(m.number(probe, "failureThreshold"))
}

// starts returns how often a supervisor starts within a time what fails at once,
// and waits then as the ledger's default policy has it.
func starts(within time.Duration) int {
	n := 2 // the first, and the one that waits
	for at := time.Duration(0); ; n++ {
		if at += (restart.Policy{}).Delay(n - 1); at > within {
			return n
		}
	}
}

// The models' numbers are consistent with each other and with the defaults.
func TestDocs(t *testing.T) {
	const toExit = 2 * time.Second // from the drain's end, at the least
	var d time.Duration
	check := func(ok bool, format string, args ...any) {
		t.Helper()
		if !ok {
			t.Errorf(format, args...)
		}
	}

	unit := readModel(t, "evenkeel.service")
	d = unit.seconds("[Service]", "TimeoutStopSec")
	check(d >= drain.DefaultBudget+toExit, "TimeoutStopSec=%v, Budget %v", d, drain.DefaultBudget)
	d = unit.seconds("[Service]", "RestartSec")
	check(d == restart.Policy{}.Delay(1), "RestartSec=%v, Policy.Min %v", d, restart.Policy{}.Delay(1))
	permanent := fmt.Sprint(lifecycle.ExitCode(restart.Permanent(os.ErrInvalid)))
	check(unit.value("[Service]", "RestartPreventExitStatus") == permanent, "RestartPreventExitStatus is not %s", permanent)
	check(unit.value("[Service]", "Type") == "notify" && unit.value("[Service]", "Restart") == "on-failure", "not a unit that restarts and is notified")
	interval := unit.seconds("[Unit]", "StartLimitIntervalSec")
	n, burst := starts(interval), unit.number("[Unit]", "StartLimitBurst")
	check(burst >= 2*n, "StartLimitBurst=%d, the ledger lets %d in", burst, n)
	said := fmt.Sprintf("lets %d starts into any %.0f min", n, interval.Minutes())
	check(strings.Contains(unit.text, said), "the comment on the limit must say: %s", said)
	start := unit.seconds("[Service]", "TimeoutStartSec")
	watchdog := unit.seconds("[Service]", "WatchdogSec")
	said = fmt.Sprintf("each %.0f s, and gives it %.0f s", watchdog.Seconds()/3, watchdog.Seconds()/2)
	check(strings.Contains(unit.text, said), "the comment on the watchdog must say: %s", said)

	pod := readModel(t, "pod.yaml")
	d = pod.seconds("spec:", "terminationGracePeriodSeconds") - pod.seconds("preStop:", "seconds")
	check(d >= drain.DefaultBudget+toExit, "the grace period leaves %v after preStop, Budget %v", d, drain.DefaultBudget)
	longest := restart.Policy{}.Delay(1000) * 11 / 10 // with the jitter
	d = pod.patience("startupProbe:")
	check(d >= longest+start, "startupProbe gives %v, the ledger waits for %v and Start has %v", d, longest, start)
	d = pod.patience("readinessProbe:")
	check(d+pod.seconds("readinessProbe:", "periodSeconds") <= 3*time.Second, "readinessProbe needs %v, and README's Settle is 3s", d)
	d = pod.patience("livenessProbe:")
	check(d == watchdog, "livenessProbe gives %v, WatchdogSec=%v", d, watchdog)
	for probe, path := range map[string]string{"startupProbe:": "/livez", "readinessProbe:": "/readyz", "livenessProbe:": "/livez"} {
		check(pod.value(probe, "path") == path, "%s asks %s", probe, pod.value(probe, "path"))
	}
	port := readModel(t, "evenkeel.socket").value("[Socket]", "ListenStream")
	check(pod.value("name: web", "containerPort") == port, "the ports of pod and socket differ")
	for _, probe := range []string{"startupProbe:", "readinessProbe:", "livenessProbe:"} {
		check(pod.value(probe, "port") == "admin", "%s asks a port that closes early in the drain", probe)
	}
	said = fmt.Sprintf("%d + %.0f + %.0f", pod.number("preStop:", "seconds"), drain.DefaultBudget.Seconds(), toExit.Seconds())
	check(strings.Contains(pod.text, said), "the comment on the grace period must say: %s", said)
}

// systemd itself has no complaint about the model units.
func TestDocsVerify(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("skipped: no systemd: ", err)
	}
	dir := t.TempDir()
	args := []string{"verify"}
	for _, name := range []string{"evenkeel.service", "evenkeel.socket"} {
		text := strings.Replace(readModel(t, name).text, "/usr/local/bin/evenkeel", "/bin/true", 1)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	if out, err := exec.Command(analyze, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// The table in doc.go has each line that the library logs, with each attribute
// that stands beside its message, and nothing that the library does not log.
func TestLogLines(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^//\t(\S.*?)  +(\S.*)$`).FindAllStringSubmatch(string(doc), -1) {
		rows[row[1]] = row[2]
	}
	var code strings.Builder
	for _, pattern := range []string{"drain/*.go", "lifecycle/*.go", "restart/*.go", "internal/panics/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil || names == nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range names {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "_test.go") {
				code.Write(source)
			}
		}
	}
	logged := map[string]bool{}
	for _, call := range regexp.MustCompile(`(?:warn|Context|Log)\([^"]*"([a-z ]+)"(.*)`).FindAllStringSubmatch(code.String(), -1) {
		logged[call[1]] = true
		for _, key := range regexp.MustCompile(`, "([a-z]+)", `).FindAllStringSubmatch(call[2], -1) {
			if !regexp.MustCompile(`\b` + key[1] + `\b`).MatchString(rows[call[1]]) {
				t.Errorf("doc.go: %q has no %s", call[1], key[1])
			}
		}
	}
	for msg, keys := range rows {
		if !logged[msg] {
			t.Errorf("doc.go: nobody logs %q", msg)
		}
		for _, key := range regexp.MustCompile(`, | or `).Split(keys, -1) {
			if !strings.Contains(code.String(), strconv.Quote(key)+", ") {
				t.Errorf("doc.go: %q: nobody logs %s", msg, key)
			}
		}
	}
}
