package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// A world is one replay of the schedule: the user, the supervisor with its
// gateway, and the user's CLIs.
type world struct {
	role
	*journal
	events []event
	out    io.Writer // progress
	user   *slog.Logger

	ctx     context.Context // its end kills every process
	procs   errgroup.Group
	super   *process
	clis    map[string]*process // by session
	current string              // the session of the latest CLI
}

// A process is a child of the replay.
type process struct {
	*exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed at its end
}

// stuck is how long an event may wait for its state before the replay gives up. No wait
// is longer than an answer.
func (w *world) stuck() time.Duration { return w.scaled(2*longestAnswer) + 20*time.Second }

var errStuck = errors.New("it does not come")

// run replays the schedule and returns when every process has ended.
func (w *world) run(ctx context.Context) (err error) {
	if w.Dir, err = os.MkdirTemp("", "incident-*"); err != nil {
		return err
	}
	defer os.RemoveAll(w.Dir)
	ctx, cancel := context.WithCancel(ctx)
	w.ctx = ctx
	w.clis = make(map[string]*process)
	w.user = slog.New(slog.NewJSONHandler(w.journal, nil)).With("pid", os.Getpid(), "who", "user")
	defer func() {
		cancel()
		err = cmp.Or(err, w.procs.Wait())
	}()
	if w.Addr, err = freePort(); err != nil {
		return err
	}
	if w.super, err = w.start("supervisor", ""); err != nil {
		return err
	}
	begin := time.Now()
	for _, e := range w.events {
		if err := w.await(e); err != nil {
			return fmt.Errorf("%s world: %s %s: waiting for %s: %w", w.World, e.at, e.who, e.when, err)
		}
		if err := sleepUntil(ctx, begin.Add(w.scaled(e.after(w.events[0])))); err != nil {
			return err
		}
		done, err := w.do(e)
		if err != nil {
			return fmt.Errorf("%s world: %s %s %s: %w", w.World, e.at, e.who, e.what, err)
		}
		fmt.Fprintf(w.out, "%-6s  %s  %-7s  %-20s  %s\n", w.World, e.at, e.who, done, e.note)
	}
	return w.end()
}

// end lets the last answer arrive, and the user leave.
func (w *world) end() error {
	ctx, cancel := context.WithTimeoutCause(w.ctx, w.stuck(), errStuck)
	defer cancel()
	last := has(line{Msg: "answered", Session: w.current})
	if w.Poison != "" && w.World == "before" {
		last = func(ls []line) bool { return deaths(ls) >= manyDeaths } // it does not arrive
	}
	if err := w.wait(ctx, last); err != nil {
		return fmt.Errorf("%s world: waiting for the last answer: %w", w.World, err)
	}
	for _, p := range w.clis {
		p.stdin.Close()
	}
	for session, p := range w.clis {
		if err := p.ended(ctx); err != nil {
			return fmt.Errorf("%s world: waiting for the end of CLI %s: %w", w.World, session, err)
		}
	}
	w.super.stdin.Close()
	if err := w.super.ended(ctx); err != nil {
		return fmt.Errorf("%s world: waiting for the end of the supervisor: %w", w.World, err)
	}
	return nil
}

func (p *process) ended(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// await waits for the state that e presupposes.
func (w *world) await(e event) error {
	ctx, cancel := context.WithTimeoutCause(w.ctx, w.stuck(), errStuck)
	defer cancel()
	who := e.who
	if who == gateway {
		who = w.current
	}
	switch e.when {
	case working:
		return w.wait(ctx, func(ls []line) bool {
			return count(ls, line{Msg: "stream opened", Session: who}) == streams && count(ls, line{Msg: "task began", Session: who}) == tasks
		})
	case connected:
		return w.wait(ctx, has(line{Msg: "connected", Session: who}))
	case streaming:
		return w.wait(ctx, func(ls []line) bool { return w.streaming(ls, who) })
	case replied:
		return w.wait(ctx, func(ls []line) bool { return w.streaming(ls, who) || has(line{Msg: "answered", Session: who})(ls) })
	case ready:
		return w.wait(ctx, gatewayReady)
	case killed:
		return w.wait(ctx, func(ls []line) bool { return deaths(ls) >= 2 })
	case reacted:
		cut := has(line{Msg: "cut", Session: who, Kind: "answer"})
		return w.wait(ctx, func(ls []line) bool {
			return cut(ls) && gatewayReady(ls) || count(ls, line{Msg: "drain began", Who: gateway}) == count(ls, line{Msg: "restart job"})
		})
	}
	return nil
}

// gatewayReady reports whether every restart is over.
func gatewayReady(ls []line) bool {
	return count(ls, line{Msg: "gateway ready"}) > count(ls, line{Msg: "restart job"})
}

// streaming reports whether a session gets an answer.
func (w *world) streaming(ls []line, session string) bool {
	s := line{Session: session, Kind: "answer"}
	with := func(msg string) line { l := s; l.Msg = msg; return l }
	return count(ls, with("streaming")) > count(ls, with("cut"))+count(ls, with("answered"))
}

// do makes e happen, and prints it.
func (w *world) do(e event) (string, error) {
	log := w.user.With("of", "cli", "session", e.who)
	switch e.what {
	case start:
		p, err := w.start("cli", e.who)
		w.clis[e.who], w.current = p, e.who
		return string(e.what), err
	case askAgain:
		if !w.now(has(line{Msg: "cut", Session: e.who, Kind: "answer"})) {
			return "was not cut", nil
		}
		fallthrough
	case ask:
		log.Info("typed")
		_, err := io.WriteString(w.clis[e.who].stdin, "hi\n")
		return "asks", err
	case renew:
		w.user.Info("restart job", "of", gateway, "signal", syscall.SIGTERM.String())
		_, err := io.WriteString(w.super.stdin, "restart\n")
		return string(e.what), err
	default:
		s := map[action]syscall.Signal{interrupt: syscall.SIGINT, hangUp: syscall.SIGHUP}[e.what]
		log.Info("sends", "signal", s.String())
		err := w.clis[e.who].Process.Signal(s)
		if errors.Is(err, os.ErrProcessDone) {
			return "has left", nil
		}
		return string(e.what), err
	}
}

// start starts a process and reads its lines until all that holds its output
// has ended: for the supervisor, the gateway too.
func (w *world) start(name, session string) (*process, error) {
	r := w.role
	r.Name, r.Session = name, session
	c, stdin, err := r.command(w.ctx)
	if err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.Stdout, c.Stderr = in, in
	err = c.Start()
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	p := &process{Cmd: c, stdin: stdin, done: make(chan struct{})}
	w.procs.Go(func() error {
		defer close(p.done)
		defer out.Close()
		err := w.read(out)
		c.Wait()
		w.user.Info("exited", "of", name, "child", c.Process.Pid, "session", session, "status", c.ProcessState.ExitCode(), "signal", endedBy(c.ProcessState))
		return err
	})
	return p, nil
}

// freePort returns an address that is not in use. Its port is below those that systems
// give to connections, which could connect to themselves while no gateway listens.
func freePort() (string, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.N(12000))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}

func sleepUntil(ctx context.Context, t time.Time) error {
	select {
	case <-time.After(time.Until(t)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// has returns a test for a line that matches every field that is set in l.
func has(l line) func([]line) bool {
	return func(ls []line) bool { return count(ls, l) > 0 }
}

func count(ls []line, l line) (n int) {
	for _, x := range ls {
		if x.Msg == l.Msg && (l.Who == "" || x.Who == l.Who) && (l.Session == "" || x.Session == l.Session) && (l.Kind == "" || x.Kind == l.Kind) {
			n++
		}
	}
	return n
}
