package stoptest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// pause is how long a call stays in its middle after the signal.
const pause, tick = 300 * time.Millisecond, 10 * time.Millisecond

// grace is how long calls go on after the exit of the program: what it has sent is in the
// kernel, and is still read.
const grace = 3 * time.Second

// A life is one run of the program, and all that was seen of it.
type life struct {
	Life
	program *Program
	moment  moment
	tmp     string
	proc    *process
	traffic *traffic
	watch   *watch
	notes   notes

	began, ready time.Time
	readyTook    time.Duration
	signalled    chan struct{} // closed before the first event or signal
	signalledAt  time.Time     // set before signalled is closed
	sent         []time.Time   // the signals
	held         int           // admitted calls that were in their middle at the last signal
	missing      error         // of Acknowledged
	overdue      bool          // the program was killed, as it had not exited within Budget
	left         []string
}

// errStart says that a life did not get as far as its stop. It is about the life before.
type errStart struct {
	why  string
	slow bool // it may be so because the machine is busy
}

func (e *errStart) Error() string { return "stoptest: " + e.why }

// run runs the life to its end. The error is an errStart or the cause of ctx.
func (l *life) run(ctx context.Context) (err error) {
	l.signalled = make(chan struct{})
	if l.moment.when == taken {
		occupant, err := net.Listen("tcp", l.Addr)
		if err != nil {
			return &errStart{why: fmt.Sprintf("the address is not free: %v", err)}
		}
		defer occupant.Close()
	}
	l.tmp = filepath.Join(filepath.Dir(l.Dir), "tmp"+strconv.Itoa(l.Number))
	if err := os.Mkdir(l.tmp, 0o777); err != nil {
		return &errStart{why: err.Error()}
	}
	defer os.RemoveAll(l.tmp)
	cmd := l.program.Command(&l.Life)
	if cmd.Dir == "" {
		cmd.Dir = l.Dir
	}
	l.began = time.Now()
	marker := strconv.FormatUint(rand.Uint64(), 36) + strconv.FormatUint(rand.Uint64(), 36)
	if l.proc, err = start(cmd, marker, l.tmp, l.moment.event == orphaned); err != nil {
		return &errStart{why: err.Error()}
	}
	defer l.proc.end()
	l.about("started " + l.proc.name)

	calls, stop := context.WithCancel(ctx)
	l.traffic = newTraffic(calls, l)
	l.watch = &watch{life: l, refusing: make(chan struct{}), notReady: make(chan struct{}), order: seen{promise: ReadinessFirst, timed: true}}
	var watching sync.WaitGroup
	defer func() {
		stop()
		l.traffic.all.Wait()
		watching.Wait()
	}()
	if err := l.reach(ctx); err != nil {
		return err
	}
	if l.moment.when != taken && l.moment.when != starting {
		watching.Go(func() { l.watch.run(calls) })
	}
	if err := l.stop(ctx); err != nil {
		return err
	}
	l.aboutExit()
	l.left = l.leftovers()
	timer := time.AfterFunc(grace, stop)
	defer timer.Stop()
	l.traffic.all.Wait()
	if l.moment.orderly() {
		watching.Wait()
	}
	return nil
}

// reach brings the life to its moment.
func (l *life) reach(ctx context.Context) error {
	switch l.moment.when {
	case taken:
		return nil
	case starting:
		return l.sleep(ctx, time.Duration(l.moment.delay*float64(l.readyTook)))
	}
	if err := l.waitReady(ctx); err != nil {
		return err
	}
	l.about("the program is ready")
	if ack := l.program.Acknowledged; ack != nil && l.Number > 0 {
		within, cancel := context.WithTimeout(ctx, l.program.Start)
		err := ack(within, &l.Life)
		if err != nil && within.Err() != nil {
			err = fmt.Errorf("%w, %v after Acknowledged was called: %v", within.Err(), l.program.Start, err)
		}
		cancel()
		if err != nil {
			l.missing = err
			l.about("acknowledged work is missing: " + err.Error())
		}
	}
	if l.moment.when == unused {
		return l.alive(ctx)
	}
	if err := l.traffic.begin(ctx); err != nil {
		return err
	}
	switch l.moment.when {
	case loaded:
		if err := l.sleep(ctx, 20*time.Millisecond+time.Duration(l.moment.delay*float64(150*time.Millisecond))); err != nil {
			return err
		}
	case idle:
		l.traffic.rest()
		return l.sleep(ctx, 20*time.Millisecond)
	}
	return l.traffic.aim(ctx)
}

// sleep waits, and returns an error if the program exits meanwhile.
func (l *life) sleep(ctx context.Context, d time.Duration) error {
	l.wait(ctx, d)
	return l.alive(ctx)
}

// alive returns an error if the program has exited.
func (l *life) alive(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-l.proc.ended:
		return &errStart{why: "the program exited before it was stopped: " + l.statusText()}
	default:
		return nil
	}
}

func (l *life) waitReady(ctx context.Context) error {
	until := time.Now().Add(l.program.Start)
	for {
		err := l.program.probe(ctx, &l.Life)
		if err == nil && l.watch.refuses(ctx) {
			err = errors.New("connections to " + l.Addr + " are refused")
		}
		if dead := l.alive(ctx); dead != nil {
			return dead
		}
		if err == nil {
			l.ready = time.Now()
			return nil
		}
		if time.Now().After(until) {
			return &errStart{fmt.Sprintf("the program was not ready within %v: %v", l.program.Start, err), true}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// stop sends the signals, and waits for the exit.
func (l *life) stop(ctx context.Context) error {
	budget := l.program.Budget
	if l.moment.when == taken {
		budget = min(budget, 10*time.Second)
	}
	l.signalledAt = time.Now()
	close(l.signalled)
	if l.moment.event != nothing {
		l.about(l.moment.name(l.program.Load))
		l.proc.happen(l.moment.event)
		l.wait(ctx, pause)
	}
	for i := range l.moment.times {
		if i > 0 {
			l.wait(ctx, l.moment.gap)
		}
		select {
		case <-l.proc.ended:
			return context.Cause(ctx)
		default:
		}
		l.held = l.traffic.inMiddle()
		l.sent = append(l.sent, time.Now())
		l.about("sends", "signal", signalName(l.moment.signal))
		// The kernel's part, as many programs do not log it.
		l.notes.add("stop", []any{"pid", l.proc.program.Pid, "who", l.proc.name, "signal", signalName(l.moment.signal)})
		if err := l.proc.program.Signal(l.moment.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return &errStart{why: err.Error()}
		}
	}
	select {
	case <-l.proc.ended:
	case <-time.After(budget - time.Since(l.stopBegan())):
		l.overdue = true
		l.about("sends SIGKILL, as the program did not exit in time", "signal", "SIGKILL")
		l.proc.program.Kill()
		<-l.proc.ended
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

// stopBegan returns the time of the first signal or, if there was none, of the event.
func (l *life) stopBegan() time.Time {
	if len(l.sent) > 0 {
		return l.sent[0]
	}
	return l.signalledAt
}

// wait waits for a time, the exit or ctx.
func (l *life) wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.proc.ended:
	case <-ctx.Done():
	}
}

// aboutExit notes the exit and, if it is known, the status.
func (l *life) aboutExit() {
	if l.moment.event == orphaned {
		l.about("exited")
		return
	}
	code, by := l.proc.status()
	if by >= 0 {
		l.about("exited", "signal", signalName(by))
	} else {
		l.about("exited", "status", code)
	}
}

// leftovers describes what the program left behind.
func (l *life) leftovers() []string {
	if l.overdue || l.moment.holds() || l.moment.when == taken || l.moment.signal == os.Kill {
		return nil
	}
	found := l.proc.left()
	if free, err := net.Listen("tcp", l.Addr); err != nil {
		found = append(found, fmt.Sprintf("the address is not free: %v", err))
	} else {
		free.Close()
	}
	for _, name := range filesIn(l.tmp) {
		found = append(found, "file "+name+" in TMPDIR")
	}
	for _, name := range filesIn(l.Dir) {
		if locked(filepath.Join(l.Dir, name)) {
			found = append(found, "a lock on "+name)
		}
	}
	return found
}
