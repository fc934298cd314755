package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

func TestNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var told []string
		var gate drain.Gate
		for i := range 3 { // they leave 22, 24 and 33 s after the begin
			gate.Enter()
			time.AfterFunc([]time.Duration{22, 24, 33}[i]*time.Second, gate.Leave)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		g := lifecycle.Group{
			Start: func(ctx context.Context) error {
				carried.Wait(ctx, "restart", begin.Add(9*time.Second))
				time.Sleep(9 * time.Second)
				return nil
			},
			Notify: func(s lifecycle.Status) {
				told = append(told, fmt.Sprintf("%v %s %d %v", time.Since(begin), s.State, s.Left, s.Falling))
				switch s.State {
				case "starting":
					if s.Waiting != "" && !s.Until.Equal(begin.Add(9*time.Second)) {
						t.Errorf("waits until %v", s.Until)
					}
				case "draining":
					if s.Cause == nil || s.Cause.Error() != "enough" {
						t.Errorf("cause: %v", s.Cause)
					}
				}
			},
			Drain: drain.Plan{Phases: []drain.Phase{{Name: "work", Timeout: 20 * time.Second, Steps: []drain.Step{{Name: "gate", Stop: gate.Drain}}}}},
		}
		g.Go("task", func(ctx context.Context) error { <-ctx.Done(); return nil })
		time.AfterFunc(20*time.Second, func() { stop(errors.New("enough")) })
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		for _, want := range []string{
			"0s starting 0 false", // Start begins, then says what it waits for
			"9s running 0 false",
			"20s draining 0 true",
			"23s draining 4 true",  // the step, the tasks' one, and two within
			"32s draining 3 false", // nothing has left since 24 s
			"33s draining 0 true",
		} {
			if !slices.Contains(told, want) {
				t.Errorf("not told: %s", want)
			}
		}
		if t.Failed() {
			t.Log(strings.Join(told, "\n"))
		}
	})
}

// notifySocket is systemd's side of NOTIFY_SOCKET.
func notifySocket(t *testing.T) (received func() string) {
	if runtime.GOOS == "windows" {
		t.Skip("skipped: Windows has no sockets of datagrams with a path")
	}
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		b := make([]byte, 4096)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestSystemd(t *testing.T) {
	received := notifySocket(t)
	at := time.Date(2026, 11, 1, 12, 3, 4, 0, time.Local)
	for _, tt := range []struct {
		status lifecycle.Status
		want   string
	}{
		{lifecycle.Status{State: "starting"}, "STATUS=starting"},
		{lifecycle.Status{State: "starting", Waiting: "lock of 17"}, "STATUS=waiting: lock of 17\nEXTEND_TIMEOUT_USEC=90000000"},
		{lifecycle.Status{State: "starting", Waiting: "restart", Until: at}, "STATUS=waiting until 12:03:04: restart\nEXTEND_TIMEOUT_USEC=90000000"},
		{lifecycle.Status{State: "starting", Waiting: "x\nREADY=1"}, "STATUS=waiting: x; READY=1\nEXTEND_TIMEOUT_USEC=90000000"},
		{lifecycle.Status{State: "running"}, "STATUS=running\nREADY=1"},
		{lifecycle.Status{State: "draining"}, "STATUS=draining\nSTOPPING=1"},
		{lifecycle.Status{State: "draining", Left: 3, Falling: true, Deadline: at},
			"STATUS=draining: 3 left, until 12:03:04 at the latest\nSTOPPING=1\nEXTEND_TIMEOUT_USEC=5000000"},
	} {
		lifecycle.Systemd(tt.status)
		if got := received(); got != tt.want {
			t.Errorf("got\n%s\nwant\n%s", got, tt.want)
		}
	}
	lifecycle.Systemd(lifecycle.Status{State: "starting", Waiting: "restart", Until: time.Now().Add(time.Minute)})
	if got := received(); !strings.Contains(got, "\nEXTEND_TIMEOUT_USEC=149") {
		t.Errorf("a wait of a minute: %s", got)
	}
	lifecycle.Systemd(lifecycle.Status{State: "starting", Waiting: strings.Repeat("x", 3000)})
	if got, _, _ := strings.Cut(received(), "\n"); len(got) != len("STATUS=")+1000 {
		t.Errorf("a long text: %d bytes", len(got))
	}
}

func TestSystemdWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	lifecycle.Systemd(lifecycle.Status{State: "running"})
	t.Setenv("WATCHDOG_USEC", "")
	if err := lifecycle.Watchdog(func(context.Context) error { return errors.New("asked") })(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWatchdog(t *testing.T) {
	received := notifySocket(t)
	t.Setenv("WATCHDOG_USEC", "100000")
	t.Setenv("WATCHDOG_PID", "")
	answers := make(chan error, 3)
	answers <- nil
	answers <- errors.Join(errors.New("no database"), errors.New("no disk"))
	answers <- nil
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- lifecycle.Watchdog(func(ctx context.Context) error {
			select {
			case err := <-answers:
				return err
			case <-ctx.Done(): // the last answer is a late one
				return nil
			}
		})(ctx)
	}()
	for _, want := range []string{"WATCHDOG=1", "STATUS=not alive: no database; no disk", "WATCHDOG=1\nSTATUS=alive again", "STATUS=not alive: context deadline exceeded"} {
		if got := received(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	lifecycle.Systemd(lifecycle.Status{State: "draining"})
	for got := received(); !strings.Contains(got, "draining"); got = received() {
		if strings.Contains(got, "canceled") {
			t.Errorf("at the end of the task: %s", got)
		}
	}
	for _, period := range []string{"soon", "9223372036854775807"} { // the second is negative in nanoseconds
		t.Setenv("WATCHDOG_USEC", period)
		if err := lifecycle.Watchdog(func(context.Context) error { return nil })(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "lifecycle: Watchdog: ") {
			t.Errorf("a period that is none: %v", err)
		}
	}
}

// If alive answers within half of the period, at any speed, systemd gets each answer
// within the period, with time to spare.
func TestWatchdogInTime(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "1200000")
	t.Setenv("WATCHDOG_PID", "")
	synctest.Test(t, func(t *testing.T) {
		const period = 1200 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		last, n := time.Now(), 0
		err := lifecycle.Watchdog(func(context.Context) error {
			if n++; n%2 == 0 {
				time.Sleep(period/2 - 1)
			}
			if gap := time.Since(last); gap > period*9/10 {
				t.Errorf("answer %d comes %v after the one before", n, gap)
			}
			last = time.Now()
			return nil
		})(ctx)
		if err != nil || n < 100 {
			t.Errorf("%d answers, %v", n, err)
		}
	})
}
