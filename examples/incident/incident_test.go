package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asProgram makes the test binary act as the program.
const asProgram = "EVENKEEL_INCIDENT_TEST"

func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv(roleEnv); ok || os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestIncident(t *testing.T) {
	if !supported {
		t.Skip("skipped: processes cannot be sent signals here")
	}
	dir := t.TempDir()
	var out, errs bytes.Buffer
	if status := run([]string{"-scale", "120", "-out", dir}, &out, &errs); status != 0 {
		t.Errorf("exit status %d\n%s%s", status, &out, &errs)
		for _, name := range []string{"before.jsonl", "after.jsonl"} {
			lines, _ := os.ReadFile(filepath.Join(dir, name))
			t.Logf("%s\n%s", name, lines)
		}
	}
	for _, name := range []string{"before.jsonl", "after.jsonl"} {
		if lines, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Contains(lines, []byte(`"signal":"terminated"`)) {
			t.Errorf("%s: %v, %d bytes", name, err, len(lines))
		}
	}
	for world, costly := range map[string]int{"before": 2, "after": 0} {
		page, err := os.ReadFile(filepath.Join(dir, world+".html"))
		if err != nil || !bytes.Contains(page, fmt.Appendf(nil, ": %d chains that cost something", costly)) || !strings.Contains(out.String(), world+".html") {
			lines, _ := os.ReadFile(filepath.Join(dir, world+".jsonl"))
			t.Errorf("%s.html: %v, %d bytes; does not show %d chains that cost something\n%s\n%s", world, err, len(page), costly, &out, lines)
		}
	}
}

// A session kills the gateway on sight. It goes on before; after, there is no third death.
func TestKill(t *testing.T) {
	if !supported {
		t.Skip("skipped: processes cannot be sent signals here")
	}
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("skipped: there is no black box on this system")
	}
	dir := t.TempDir()
	var out, errs bytes.Buffer
	if status := run([]string{"-kill", "-scale", "120", "-out", dir}, &out, &errs); status != 0 {
		t.Errorf("exit status %d\n%s%s", status, &out, &errs)
		for _, name := range []string{"before.jsonl", "after.jsonl"} {
			lines, _ := os.ReadFile(filepath.Join(dir, name))
			t.Logf("%s\n%s", name, lines)
		}
	}
}

func TestArguments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"-scale 0", "incident: -scale: 0 is not above 0 and at most 120"},
		{"-scale -1", "incident: -scale: -1 is"},
		{"-scale 121", "incident: -scale: 121 is"},
		{"-scale NaN", "incident: -scale: NaN is"},
		{"-scale 1e-9", "incident: -scale: 1e-09 is"},
		{"-out " + file, "incident: -out: "},
		{"-scale fast", `incident: invalid value "fast" for flag -scale`},
		{"-fast", "incident: flag provided but not defined: -fast"},
		{"now", `incident: unexpected argument "now"`},
	} {
		var out, errs bytes.Buffer
		status := run(strings.Fields(tt.args), &out, &errs)
		if status != 2 || !strings.HasPrefix(errs.String(), tt.want) || strings.Count(errs.String(), "\n") != 1 || out.Len() > 0 {
			t.Errorf("%s: exit status %d, %q, %q; want %q", tt.args, status, &out, &errs, tt.want)
		}
	}
}

// An interrupt at any moment ends every process.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: it reads /proc to see which processes live, and there is none")
	}
	for _, after := range []time.Duration{0, 30 * time.Millisecond, 400 * time.Millisecond, 2500 * time.Millisecond, 9 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			c := exec.Command(os.Args[0], "-scale", "120", "-v")
			c.Env = append(os.Environ(), asProgram+"=1")
			c.Stdout, c.Stderr = &out, &out
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after) // the moment is the test's case
			c.Process.Signal(syscall.SIGINT)
			ended := make(chan error, 1)
			go func() { ended <- c.Wait() }()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				c.Process.Kill()
				t.Fatalf("it does not end\n%s", &out)
			}
			for _, m := range regexp.MustCompile(`"(?:pid|child)":(\d+)`).FindAllStringSubmatch(out.String(), -1) {
				if pid, _ := strconv.Atoi(m[1]); lives(pid) {
					t.Errorf("process %d still lives", pid)
				}
			}
		})
	}
}

// lives reports whether a process runs this program. It reports false for one that has
// ended but was not waited for.
func lives(pid int) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return err == nil && exe == self
}

// tallied must see what went wrong: without one of the lines, the tally differs.
func TestTallied(t *testing.T) {
	at := time.Date(2026, 5, 20, 22, 50, 36, 0, time.UTC)
	second := func(n int) time.Time { return at.Add(time.Duration(n) * time.Second) }
	good := []line{
		{Time: second(0), Msg: "started gateway"},
		{Time: second(1), Msg: "stream opened", Session: "a"},
		{Time: second(1), Msg: "task began", Session: "a"},
		{Time: second(2), Msg: "typed", Session: "a"},
		{Time: second(3), Msg: "restart job"},
		{Time: second(9), Msg: "answered", Session: "a", Kind: "answer", Attempt: "1"},
		{Time: second(10), Msg: "leaving", Session: "a"},
		{Time: second(10), Msg: "client gone", Session: "a", Kind: "session", Attempt: "1"},
		{Time: second(10), Msg: "stream closed", Session: "a"},
		{Time: second(10), Msg: "task ended", Session: "a"},
		{Time: second(10), Msg: "started gateway"},
		{Time: second(11), Msg: "gateway ready"},
		{Time: second(12), Msg: "exited", Of: "cli", Session: "a"},
	}
	without := func(msg string) tally {
		var ls []line
		for _, l := range good {
			if l.Msg != msg {
				ls = append(ls, l)
			}
		}
		return tallied(ls)
	}
	with := func(l line) tally { return tallied(append([]line{l}, good...)) }
	g := tallied(good)
	for what, ok := range map[string]bool{
		"good":                 len(g.failed) == 0 && g.cut == 0 && g.restarts == 1 && g.streams == 0 && g.tasks == 0 && len(g.bad) == 0,
		"times":                g.unanswered == 7*time.Second && g.longest == 7*time.Second && g.slowest == 8*time.Second,
		"a stream left":        without("stream closed").streams == 1,
		"a task left":          without("task ended").tasks == 1,
		"not leaving is a cut": without("leaving").cut == 1,
		"a cut answer": func() bool {
			c := with(line{Msg: "cut", Session: "b", Kind: "answer", Attempt: "1"})
			return c.cut == 1 && c.mostCuts() == 1
		}(),
		"a bad exit": len(with(line{Msg: "exited", Of: "cli", Status: 1}).bad) == 1,
		"a failed session": len(tallied([]line{
			{Msg: "typed", Session: "b"},
			{Msg: "cut", Session: "b", Kind: "answer", Attempt: "1"},
			{Msg: "client gone", Session: "b", Kind: "answer", Attempt: "1"},
			{Msg: "leaving", Session: "b"},
		}).failed) == 1,
		"an unanswered one":      len(tallied([]line{{Msg: "typed", Session: "b"}}).failed) == 1,
		"one whose CLI has left": len(tallied([]line{{Msg: "typed", Session: "b"}, {Msg: "leaving", Session: "b"}}).failed) == 1,
		"one cut by leaving":     with(line{Msg: "leaving", Session: "b"}).cut == 0 && tallied([]line{{Msg: "leaving", Session: "b"}, {Msg: "client gone", Session: "b", Kind: "answer"}}).cut == 1,
		"answered twice":         with(line{Msg: "answered", Session: "b"}).unanswered == 7*time.Second,
	} {
		if !ok {
			t.Error(what)
		}
	}
}
