//go:build unix && !aix && !solaris

package stoptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

var programs = map[string]func(){"good": good, "bad": bad, "broken": func() { os.Exit(3) }, "plain": plain, "scratch": scratch, "checks": checks}

// good stops well: readiness fails, then it drains, and a second signal ends the drain.
func good() {
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	var stopping atomic.Bool
	over := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if stopping.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	mux.HandleFunc("POST /files", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: hello\n\n")
		http.NewResponseController(w).Flush()
		select {
		case <-over:
			fmt.Fprint(w, "data: goodbye\n\n")
		case <-r.Context().Done():
		}
	})
	s := &http.Server{Addr: os.Getenv("ADDR"), Handler: mux}
	go func() {
		if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-signals
	stopping.Store(true)
	time.AfterFunc(300*time.Millisecond, func() { close(over); signal.Reset() })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	go func() {
		<-signals
		cancel()
	}()
	select {
	case <-over:
	case <-ctx.Done():
	}
	if err := s.Shutdown(ctx); err != nil {
		log.Fatal("shutdown: ", err)
	}
}

// bad exits at once, calls that a success, and leaves a child, a file and a lock.
func bad() {
	child := exec.Command("sleep", "60")
	child.Dir = "/"
	if f, err := os.Create("lock"); err != nil || syscall.Flock(int(f.Fd()), syscall.LOCK_EX) != nil {
		os.Exit(4)
	} else {
		child.ExtraFiles = []*os.File{f}
	}
	if err := child.Start(); err != nil {
		os.Exit(5)
	}
	if err := os.WriteFile(filepath.Join(os.TempDir(), "scratch"), nil, 0o600); err != nil {
		os.Exit(6)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go http.ListenAndServe(os.Getenv("ADDR"), mux)
	<-signals
}

// plain leaves all signals to the system.
func plain() {
	http.ListenAndServe(os.Getenv("ADDR"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

// scratch is plain, and leaves a file if its environment says so.
func scratch() {
	if name := os.Getenv("SCRATCH"); name != "" {
		if err := os.WriteFile(filepath.Join(os.TempDir(), name), nil, 0o600); err != nil {
			os.Exit(6)
		}
	}
	plain()
}

// checks checks plain, and prints its address and whether it stopped in time. SIGINT is
// ignored, as in the background of a shell.
func checks() {
	signal.Ignore(os.Interrupt)
	p := Program{Load: []Load{Get("/")}, Signals: []os.Signal{os.Interrupt}, Lives: 1, Budget: 5 * time.Second}
	p.Command = func(l *Life) *exec.Cmd {
		fmt.Println("the address is", l.Addr)
		return command("plain")(l)
	}
	result, err := Check(context.Background(), p)
	fmt.Println("in time:", result.Of(InTime).Verdict, err)
}

// command is the command of a program of this test.
func command(name string) func(*Life) *exec.Cmd {
	return func(l *Life) *exec.Cmd {
		self, err := os.Executable()
		c := exec.Command(self)
		c.Err = err
		c.Env = append(os.Environ(), proctest.Env(name), "ADDR="+l.Addr, "GORACE="+noRaceSleep)
		return c
	}
}

// program is a program of this test.
func program(t *testing.T, name string) Program {
	return Program{
		Command:  command(name),
		Ready:    "/readyz",
		Load:     []Load{Get("/"), Upload("/files", 64<<10), Events("/events", "goodbye")},
		Budget:   10 * time.Second,
		Progress: t.Output(),
	}
}

// All moments of a good program keep all promises, and all that can be tried are.
func TestGood(t *testing.T) {
	t.Parallel()
	p := program(t, "good")
	p.Acknowledged = func(context.Context, *Life) error { return nil }
	result, err := Check(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := result.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, j := range result.Judgments {
		if j.Verdict != Yes && (j.Verdict == No || j.Promise != ThirdKills) { // the second signal ends it before the third
			t.Errorf("%s: %s\n%s", j.Promise, j.Verdict, &text)
		}
	}
	if result.Lives != len(p.Load)+13 {
		t.Errorf("%d lives", result.Lives)
	}
}

// A finding names the promise, what was seen, and the seed, with which it is found again.
func TestBad(t *testing.T) {
	t.Parallel()
	p := program(t, "bad")
	p.Load = []Load{Upload("/files", 64<<10)}
	p.Ready = ""
	p.Lives = 1
	p.Acknowledged = func(context.Context, *Life) error { return errors.New("order 7 is missing") }
	var before []Finding
	for range 2 {
		result, err := Check(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		want := []Promise{WorkAnswered, ExitStatus, NothingLeft, WorkThere}
		if got := result.Broken(); !slices.Equal(got, want) {
			t.Fatalf("broken: %q, want %q", got, want)
		}
		var text, page strings.Builder
		if err := errors.Join(result.WriteText(&text), result.WriteHTML(&page)); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{
			"SIGTERM in the middle of UPLOAD /files", "exit status 0 in spite of lost calls", "(sleep 60)", "file scratch in TMPDIR",
			"a lock on lock", "order 7 is missing", "sends SIGTERM", "the session's server was stopping",
		} {
			if !strings.Contains(text.String(), part) {
				t.Errorf("the report does not say %q:\n%s", part, &text)
			}
		}
		if !strings.Contains(page.String(), "</html>") {
			t.Error("the page is not whole")
		}
		if before != nil && before[0].Promise != result.Findings[0].Promise {
			t.Errorf("the seed found %v, and then %v", before[0].Promise, result.Findings[0].Promise)
		}
		before = result.Findings
		p.Seed = before[0].Seed
	}
}

// Progress has a line for each life, with what that life broke. A second one that shows
// nothing reads as ok, and the first one is no finding.
func TestProgress(t *testing.T) {
	t.Parallel()
	var progress strings.Builder
	p := Program{Lives: 1, Budget: 10 * time.Second, Progress: &progress, Command: func(l *Life) *exec.Cmd {
		c := command("scratch")(l)
		if l.Number == 1 { // the rehearsal is number 0
			c.Env = append(c.Env, "SCRATCH=left")
		}
		return c
	}}
	result, err := Check(t.Context(), p)
	const life = "life 1 of 1, seed 0, SIGTERM under load: "
	if want := life + "nothing left, so once more\n" + life + "ok\n"; err != nil || len(result.Broken()) > 0 || progress.String() != want {
		t.Errorf("%v, %q, and progress\n%swant\n%s", err, result.Broken(), &progress, want)
	}
}

// Work that the last life lost is missing in the start after it, and the finding has the
// seed of the life that lost it.
func TestLastLife(t *testing.T) {
	t.Parallel()
	p := Program{Command: command("plain"), Lives: 1, Seed: 1, Progress: t.Output()}
	calls := 0
	p.Acknowledged = func(context.Context, *Life) error {
		if calls++; calls > 1 {
			return errors.New("order 7 is missing")
		}
		return nil
	}
	result, err := Check(t.Context(), p)
	if f := result.Findings; err != nil || len(f) != 1 || f[0].Promise != WorkThere || f[0].Seed != 1 {
		t.Errorf("%v, %+v", err, f)
	}
}

// An Acknowledged that blocks does not hang Check: its context ends after Start.
func TestAcknowledgedBlocks(t *testing.T) {
	t.Parallel()
	p := Program{Command: command("plain"), Lives: 1, Start: 3 * time.Second, Progress: t.Output()}
	calls := 0
	p.Acknowledged = func(ctx context.Context, _ *Life) error {
		calls++
		select {
		case <-ctx.Done():
			return errors.New("no answer")
		case <-time.After(time.Minute):
			return errors.New("no end of ctx")
		}
	}
	result, err := Check(t.Context(), p)
	if err != nil || !slices.Equal(result.Broken(), []Promise{WorkThere}) {
		t.Fatalf("%v, %q", err, result.Broken())
	}
	if saw := result.Findings[0].Saw; !strings.Contains(saw, "3s after Acknowledged was called: no answer") {
		t.Error(saw)
	}
	if calls != 3 { // the life, the same once more as time broke it, and the last start
		t.Errorf("%d calls", calls)
	}
}

// What is no promise is judged, and is no finding.
func TestExcept(t *testing.T) {
	t.Parallel()
	p := program(t, "bad")
	p.Load, p.Ready, p.Lives = []Load{Upload("/files", 64<<10)}, "", 1
	p.Except = []Promise{WorkAnswered, ExitStatus, NothingLeft}
	result, err := Check(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Findings) > 0 || result.Of(WorkAnswered).Verdict != NotPromised || result.Of(WorkAnswered).No == 0 {
		t.Errorf("%+v", result)
	}
}

// A Program that cannot be judged is one clear error, and no life.
func TestErrors(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Program){
		"exit status 3; the program wrote nothing": func(p *Program) { p.Command = program(t, "broken").Command },
		"no such file":                           func(p *Program) { p.Command = func(*Life) *exec.Cmd { return exec.Command("/none/such") } },
		"POST /none failed before":               func(p *Program) { p.Load = []Load{Post("/none", "", "")} },
		"not ready within":                       func(p *Program) { p.Ready, p.Start = "/none", time.Second },
		"Program.Load[0] has no Name or no Do":   func(p *Program) { p.Load = []Load{{}} },
		`Program.Except: no promise "none"`:      func(p *Program) { p.Except = []Promise{"none"} },
		"must not be negative":                   func(p *Program) { p.Budget = -1 },
		"Program.Addr: address 80: missing port": func(p *Program) { p.Addr = "80" },
		"signals that ask for an orderly stop":   func(p *Program) { p.Signals = []os.Signal{os.Kill} },
		"go build":                               func(p *Program) { p.Command, p.Package = nil, "./none" },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			p := program(t, "good")
			change(&p)
			if result, err := Check(t.Context(), p); err == nil || !strings.Contains(err.Error(), want) || result.Lives > 0 {
				t.Errorf("%v, after %d lives", err, result.Lives)
			}
		})
	}
}

// Check ends with its context, and leaves no process.
func TestContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	p := program(t, "good")
	p.Load[0].Do = func(context.Context, string) error { cancel(enough); return nil }
	if _, err := Check(ctx, p); !errors.Is(err, enough) {
		t.Error(err)
	}
}

// Run is Check with a subtest for each promise that was tried.
func TestRun(t *testing.T) {
	p := program(t, "good")
	p.Lives = 1
	Run(t, p)
}

// A program gets SIGINT although Check runs where that is ignored.
func TestIgnored(t *testing.T) {
	t.Parallel()
	if out, _ := proctest.Start(t, "checks").Ended(); !strings.Contains(out, "in time: yes <nil>") {
		t.Error(out)
	}
}

// On Linux the program dies with the process that called Check.
func TestKilled(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("skipped: only Linux kills a child with its parent")
	}
	checks := proctest.Start(t, "checks")
	addr := checks.After("the address is ")
	listens := func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	for !listens() {
		time.Sleep(5 * time.Millisecond)
	}
	checks.Signal(syscall.SIGKILL)
	checks.Ended()
	for begin := time.Now(); listens(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("the program runs on")
		}
	}
}
