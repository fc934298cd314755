//go:build unix

package lifecycle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

// programs are what tests run in child processes.
func programs() {
	// drains is a service: its drain takes as long as it may.
	drains := func(deaf bool, start func(context.Context) error) func() {
		return func() {
			ctx, stop := WithSignals(context.Background())
			defer stop()
			g := Group{
				Start:  start,
				Logger: slog.New(slog.NewTextHandler(os.Stdout, nil)),
				Drain: drain.Plan{Phases: []drain.Phase{{Name: "work", Timeout: 2 * time.Second, Steps: []drain.Step{{Name: "work", Stop: func(ctx context.Context) error {
					fmt.Println("draining")
					if deaf {
						select {}
					}
					<-ctx.Done()
					return context.Cause(ctx)
				}}}}}},
			}
			g.Go("ready", func(ctx context.Context) error { fmt.Println("ready"); <-ctx.Done(); return nil })
			os.Exit(ExitCode(g.Run(ctx)))
		}
	}
	proctest.Main(map[string]func(){
		"drains": drains(false, nil),
		"orderly": func() {
			ctx, stop := WithSignals(context.Background())
			defer stop()
			var g Group
			g.Go("ready", func(ctx context.Context) error {
				fmt.Println("ready")
				<-drain.Stopping(ctx).Done()
				time.Sleep(200 * time.Millisecond)
				return nil
			})
			err := g.Run(ctx)
			var s *SignalError
			fmt.Println(errors.As(context.Cause(ctx), &s) && s.Signal == syscall.SIGTERM)
			fmt.Println("ran")
			time.Sleep(300 * time.Millisecond) // for a signal after Run
			os.Exit(ExitCode(err))
		},
		"starts": drains(false, func(ctx context.Context) error {
			fmt.Println("starting")
			<-ctx.Done()
			return context.Cause(ctx)
		}),
		"wedged": func() {
			_, stop := WithSignals(context.Background())
			defer stop()
			fmt.Println("ready")
			select {}
		},
		"usr1": func() {
			WithSignals(context.Background(), syscall.SIGUSR1)
			fmt.Println("ready")
			select {}
		},
		"storm": func() {
			ctx, stop := WithSignals(context.Background())
			defer stop()
			fmt.Println("ready")
			<-ctx.Done()
			fmt.Println("asked")
			<-carried.StopOf(ctx).Force.Done()
			fmt.Println("forced")
			select {}
		},
		"deaf": drains(true, nil),
		"nohup": func() {
			ctx, stop := WithSignals(context.Background())
			defer stop()
			fmt.Println("ready")
			select {
			case <-ctx.Done():
				fmt.Println(context.Cause(ctx))
			case <-time.After(300 * time.Millisecond):
				fmt.Println("survived")
			}
		},
		"twice": func() {
			_, stop1 := WithSignals(context.Background())
			ctx2, stop2 := WithSignals(context.Background())
			stop1()
			stop1()
			fmt.Println("ready")
			<-ctx2.Done()
			fmt.Println("second saw it")
			stop2()
			syscall.Kill(os.Getpid(), syscall.SIGTERM) // as before: deadly
			time.Sleep(10 * time.Second)
		},
		"stops": func() { stops(10_000) },
		"starved": func() {
			runtime.GOMAXPROCS(1)
			begin := time.Now()
			for range 64 {
				go func() {
					for time.Since(begin) < time.Minute {
					}
				}()
			}
			WithSignals(context.Background())
			var turn time.Duration
			for range 3 { // some are short, as the scheduler has two queues
				begin := time.Now()
				runtime.Gosched()
				turn = max(turn, time.Since(begin))
			}
			fmt.Println("a turn takes", turn.Milliseconds())
			time.Sleep(6 * turn)
			fmt.Println("survived")
		},
		"reload": func() {
			ctx, stop := WithSignals(context.Background(), syscall.SIGTERM)
			defer stop()
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			fmt.Println("ready")
			<-hup
			fmt.Println("reloaded", ctx.Err())
			<-ctx.Done()
		},
	})
}

func TestSignals(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name, program string
		prefix        []string
		first         string // line before the first signal
		sigs          []os.Signal
		apart         time.Duration
		status        int
		want          string // in the output after first
	}{
		{"one drains", "orderly", nil, "ready", []os.Signal{syscall.SIGTERM}, 0, 0, "true\nran"},
		{"a double is one", "drains", nil, "ready", []os.Signal{syscall.SIGINT, syscall.SIGINT}, 20 * ms, 1, "forced=false"},
		{"the second forces", "drains", nil, "ready", []os.Signal{syscall.SIGTERM, syscall.SIGINT}, 400 * ms, 1, "drain forced"},
		{"the third kills", "wedged", nil, "ready", []os.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGTERM}, 400 * ms, 143, ""},
		{"the third kills a deaf drain", "deaf", nil, "ready", []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM}, 150 * ms, 143, "drain forced"},
		{"of a kind that does not kill by itself", "usr1", nil, "ready", []os.Signal{syscall.SIGUSR1, syscall.SIGUSR1, syscall.SIGUSR1}, 400 * ms, 137, ""},
		{"in start-up", "starts", nil, "starting", []os.Signal{syscall.SIGTERM}, 0, 0, ""},
		{"after Run", "orderly", nil, "ready", []os.Signal{syscall.SIGTERM, syscall.SIGTERM}, 300 * ms, 0, "ran"},
		{"nohup", "nohup", []string{"sh", "-c", `trap "" HUP; exec "$0"`}, "ready", []os.Signal{syscall.SIGHUP}, 0, 0, "survived"},
		{"in the background", "nohup", []string{"sh", "-c", `trap "" INT; exec "$0"`}, "ready", []os.Signal{syscall.SIGINT}, 0, 0, "survived"},
		{"two hooks", "twice", nil, "ready", []os.Signal{syscall.SIGTERM}, 0, 143, "second saw it"},
		{"reload", "reload", nil, "ready", []os.Signal{syscall.SIGHUP, syscall.SIGTERM}, 200 * ms, 0, "reloaded <nil>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := proctest.Start(t, tt.program, tt.prefix...)
			p.Expect(tt.first)
			for i, s := range tt.sigs {
				if i > 0 {
					time.Sleep(tt.apart) // between signals to another process there is nothing else to wait for
				}
				p.Signal(s)
			}
			out, status := p.Ended()
			if status != tt.status || !strings.Contains(out, tt.want) {
				t.Errorf("exit status %d, want %d; output %q, want %q in it", status, tt.status, out, tt.want)
			}
		})
	}
}

// stops races the stop of a hook against a signal, so often at most. Standard
// output gets a dot for each round, and an L if the signal is lost: if it has
// neither killed nor ended the context with its cause.
func stops(rounds int) {
	within := func(d int) { // not by a sleep: the race is won by less
		for begin := time.Now(); time.Since(begin) < time.Duration(d)*time.Microsecond; {
		}
	}
	for range rounds {
		os.Stdout.WriteString(".")
		ctx, stop := WithSignals(context.Background(), syscall.SIGINT)
		stopped := make(chan struct{})
		a, b := rand.IntN(20), rand.IntN(60)
		go func() { within(a); stop(); close(stopped) }()
		within(b)
		syscall.Kill(os.Getpid(), syscall.SIGINT)
		<-stopped
		var s *SignalError
		if !errors.As(context.Cause(ctx), &s) {
			time.Sleep(5 * time.Second) // a death under way may take this long on a busy machine
			os.Stdout.WriteString("L")
		}
	}
}

var stopRounds = flag.Int("rounds", 4000, "how often TestSignalStop races a stop against a signal")

// A signal that races the hook's stop ends the context with its cause, or has its
// default effect. It is never lost. It is the idea of os/signal's TestAtomicStop.
func TestSignalStop(t *testing.T) {
	done, died := 0, 0
	for done < *stopRounds {
		out, status := proctest.Start(t, "stops").Ended()
		done += strings.Count(out, ".")
		if n := strings.Count(out, "L"); n > 0 {
			t.Errorf("%d of %d signals were lost", n, strings.Count(out, "."))
		}
		if status == 128+int(syscall.SIGINT) {
			died++
		} else if status != 0 || t.Failed() {
			t.Fatalf("exit status %d after %d rounds: %q", status, done, strings.Trim(out, ".L"))
		}
	}
	t.Logf("%d rounds, %d of them died of the signal", done, died)
}

// A few signals kill a program whose goroutines wait long for their turn, although
// the hook receives them in batches. If the machine becomes so slow meanwhile that
// there is one batch only, it is tried again: TestHook has the rule.
func TestSignalsStarved(t *testing.T) {
	for attempt := range 3 {
		p := proctest.Start(t, "starved")
		turn, err := strconv.Atoi(p.After("a turn takes "))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 12 { // in one turn and a half, so in two batches
			time.Sleep(time.Duration(max(turn/8, 110)) * time.Millisecond)
			if p.Process.Signal([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}[i%3]) != nil {
				break
			}
		}
		out, status := p.Ended()
		if status > 128 && status <= 143 {
			return
		}
		t.Logf("attempt %d: exit status %d, turn %d ms: %q", attempt, status, turn, out)
	}
	t.Error("survived 12 signals, three times")
}

// A program that was started with SIGINT ignored logs it. One under nohup just ignores
// SIGHUP.
func TestSignalsIgnored(t *testing.T) {
	for _, tt := range []struct{ ignored, want string }{
		{"INT", `WARN signal ignored signal=interrupt remedy=`},
		{"HUP", ""},
	} {
		out, status := proctest.Start(t, "nohup", "sh", "-c", `trap "" `+tt.ignored+`; exec "$0"`).Ended()
		if got := strings.Contains(out, "WARN"); status != 0 || !strings.Contains(out, tt.want) || got != (tt.want != "") {
			t.Errorf("%s: exit status %d, %q", tt.ignored, status, out)
		}
	}
}

// A storm of 10,000 mixed signals loses no transition, each 100 ms after the one
// before at the earliest.
func TestSignalStorm(t *testing.T) {
	p := proctest.Start(t, "storm")
	p.Expect("ready")
	begin := time.Now()
	sent := 0
	for kinds := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}; sent < 10_000; sent++ {
		if p.Process.Signal(kinds[sent%3]) != nil { // it has died, as it should
			break
		}
		time.Sleep(30 * time.Microsecond)
	}
	if time.Since(begin) < 200*time.Millisecond {
		time.Sleep(250*time.Millisecond - time.Since(begin))
		p.Process.Signal(syscall.SIGTERM)
	}
	out, status := p.Ended()
	if took := time.Since(begin); out != "asked\nforced\n" || status < 129 || status > 143 || took < 200*time.Millisecond {
		t.Errorf("exit status %d after %d signals and %v: %q", status, sent, took, out)
	}
}

// As PID 1 of a namespace a signal of the default kind does not kill: the
// runtime ends the process with 2.
func TestSignalsPID1(t *testing.T) {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("skipped: no unshare to make a pid namespace with")
	}
	if out, err := exec.Command(unshare, "--pid", "--fork", "--kill-child", "true").CombinedOutput(); err != nil {
		t.Skipf("skipped: may not make a pid namespace: %v, %s", err, out)
	}
	p := proctest.Start(t, "wedged", unshare, "--pid", "--fork", "--kill-child")
	p.Expect("ready")
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.Process.Pid))
	if err != nil {
		t.Skipf("skipped: cannot see the process in its namespace: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		time.Sleep(400 * time.Millisecond) // well over 100 ms, also if the receiver is slow
	}
	if out, status := p.Ended(); status != 2 {
		t.Errorf("exit status %d, %q", status, out)
	}
}
