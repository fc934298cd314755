package stoptest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Check starts and stops the program as p says, and returns what it showed. First a
// rehearsal tries the start and each load, and measures how long the start takes. Last the
// program starts once more. Neither counts as one of the lives.
//
// The error is one of p or of the rehearsal, or the cause of ctx. The Result has then what
// was seen until then. When Check returns, no process that it started runs any more. If
// this process is killed, Linux kills the program too, but not the program's children, nor
// the program of the life whose parent was to be killed. On other systems they run on.
// A killed check also leaves its folder, stoptest and a number in os.TempDir.
func Check(ctx context.Context, p Program) (Result, error) {
	e, err := newEngine(ctx, p)
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(e.dir)
	for _, s := range e.Signals {
		if signal.Ignored(s) { // as a shell has it for background processes, and exec passes it on
			signal.Notify(make(chan os.Signal, 1), s) // so exec resets it; this process ignores it as before
		}
	}
	err = e.run(ctx)
	return e.result(), err
}

// mostFindings are kept of one promise.
const mostFindings = 3

// An engine runs the lives of one Check, one after the other, and adds up what they show.
type engine struct {
	Program
	dir       string            // has the folders of state and of the lives
	names     map[string]string // what Life.Expand replaces
	readyTook time.Duration
	number    int // of the next life
	before    *life

	seen     map[Promise]*seen // the sums
	found    []Finding
	loads    []LoadCount
	finished int
}

var names = regexp.MustCompile(`\{[a-z][a-z0-9]*\}`)

func newEngine(ctx context.Context, p Program) (e *engine, err error) {
	e = &engine{Program: p, names: map[string]string{}, seen: map[Promise]*seen{}}
	for _, promise := range Promises() {
		e.seen[promise] = &seen{promise: promise}
	}
	for i, l := range p.Load {
		if l.Do == nil || l.Name == "" {
			return nil, fmt.Errorf("stoptest: Program.Load[%d] has no Name or no Do", i)
		}
		e.loads = append(e.loads, LoadCount{Name: l.Name})
	}
	for _, promise := range p.Except {
		if e.seen[promise] == nil {
			return nil, fmt.Errorf("stoptest: Program.Except: no promise %q", promise)
		}
	}
	if e.Signals == nil {
		e.Signals = usualSignals
	}
	if len(e.Signals) == 0 || slices.Contains(e.Signals, os.Kill) {
		return nil, errors.New("stoptest: Program.Signals must have signals that ask for an orderly stop")
	}
	if e.Budget == 0 {
		e.Budget = 30 * time.Second
	}
	if e.Start == 0 {
		e.Start = 30 * time.Second
	}
	if e.Lives == 0 {
		e.Lives = len(e.moments())
	}
	if e.Lives < 0 || e.Budget < 0 || e.Start < 0 {
		return nil, errors.New("stoptest: Program.Lives, Budget and Start must not be negative")
	}
	if e.Addr == "" {
		if e.Addr, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	_, port, err := net.SplitHostPort(e.Addr)
	if err != nil {
		return nil, fmt.Errorf("stoptest: Program.Addr: %w; it must be HOST:PORT", err)
	}
	if e.dir, err = os.MkdirTemp("", "stoptest"); err != nil {
		return nil, fmt.Errorf("stoptest: %w", err)
	}
	e.names["addr"], e.names["port"], e.names["dir"] = e.Addr, port, filepath.Join(e.dir, "state")
	if err = os.Mkdir(e.names["dir"], 0o777); err == nil && e.Command == nil {
		err = e.build(ctx)
	}
	if err != nil {
		os.RemoveAll(e.dir)
		return nil, fmt.Errorf("stoptest: %w", err)
	}
	return e, nil
}

// noRaceSleep is an option of the race detector. Without it, the exit of a program takes
// a second, in which work is answered that would be lost.
const noRaceSleep = "atexit_sleep_ms=0"

// build builds Package, and makes a Command of it.
func (e *engine) build(ctx context.Context) error {
	path := filepath.Join(e.dir, "program")
	if e.Package == "" {
		e.Package = "."
	}
	args := append(append([]string{"build", "-o", path}, e.Build...), e.Package)
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	e.Command = func(l *Life) *exec.Cmd {
		var args []string
		for _, a := range e.Args {
			args = append(args, l.Expand(a))
		}
		c := exec.Command(path, args...)
		c.Env = append(os.Environ(), "GORACE="+noRaceSleep+" "+os.Getenv("GORACE"))
		return c
	}
	return nil
}

// freeAddress returns an address that is free. Its port is below those that systems give
// to outgoing connections, so that none takes it between two lives.
func freeAddress() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(22000))))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("stoptest: no free port from 10000 to 32000 on 127.0.0.1")
}

// expand returns what a name in braces stands for.
func (e *engine) expand(name string) string {
	if _, ok := e.names[name]; !ok {
		addr, err := freeAddress()
		if err != nil {
			return "{" + name + "}" // which the program cannot use, and says so
		}
		e.names[name] = addr
	}
	return e.names[name]
}

// run runs all lives.
func (e *engine) run(ctx context.Context) error {
	end := moment{when: loaded, signal: e.Signals[0], times: 1}
	if !canSignal {
		end.signal = os.Kill
	}
	rehearsal := e.life(e.Seed, end)
	if err := rehearsal.run(ctx); err != nil {
		return e.explain(rehearsal, err)
	}
	e.readyTook, e.before = rehearsal.ready.Sub(rehearsal.began), rehearsal
	err := e.lives(ctx, end)
	if _, ok := errors.AsType[*errStart](err); ok {
		return nil // that the program did not start again is a finding, and the end
	}
	return err
}

// lives runs the lives that count, and starts the program once more.
func (e *engine) lives(ctx context.Context, end moment) error {
	for i := range e.Lives {
		if err := e.one(ctx, e.Seed+uint64(i)); err != nil {
			return err
		}
		e.finished++
	}
	end.when = unused
	last := e.before
	_, list, err := e.live(ctx, 0, end) // only shows what became of the last life's work
	e.add(last, slices.DeleteFunc(list, func(s seen) bool { return s.promise != WorkThere }), nil)
	return err
}

// explain adds the last lines of a program, if any, to an error of its rehearsal.
func (e *engine) explain(l *life, err error) error {
	if _, ok := errors.AsType[*errStart](err); !ok || l.proc == nil {
		return err
	}
	last := l.lastLines()
	if last == nil {
		return fmt.Errorf("%w; the program wrote nothing", err)
	}
	return fmt.Errorf("%w; the program's last lines:\n%s", err, strings.Join(last, "\n"))
}

// life prepares the next life.
func (e *engine) life(seed uint64, m moment) *life {
	l := &life{
		Life:    Life{Number: e.number, Seed: seed, Addr: e.Addr, Dir: e.names["dir"], expand: e.expand},
		program: &e.Program, moment: m, readyTook: e.readyTook,
	}
	e.number++
	return l
}

// one runs the life of a seed, and adds what it showed. If only time broke a promise, it
// runs the life again, and believes what both show.
func (e *engine) one(ctx context.Context, seed uint64) error {
	first, list, err := e.live(ctx, seed, e.moment(seed))
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(s seen) bool { return s.timed && s.no > 0 && e.seen[s.promise].no == 0 }) {
		e.add(first, list, nil)
		e.progress(first, list, "")
		return nil
	}
	e.progress(first, list, ", so once more")
	second, again, err := e.live(ctx, seed, e.moment(seed))
	e.add(first, list, again)
	if err != nil {
		return err
	}
	e.progress(second, again, "")
	e.add(second, slices.DeleteFunc(again, func(s seen) bool { return s.timed }), nil)
	return nil
}

// add adds what a life showed. What time alone broke counts if it was seen again too, or
// in an earlier life.
func (e *engine) add(l *life, list, again []seen) {
	for _, s := range list {
		sum := e.seen[s.promise]
		if s.no > 0 && s.timed && sum.no == 0 && !slices.ContainsFunc(again, func(a seen) bool { return a.promise == s.promise && a.no > 0 }) {
			s.unproven += s.no
			s.no = 0
		}
		sum.yes, sum.no, sum.unproven = sum.yes+s.yes, sum.no+s.no, sum.unproven+s.unproven
		if s.no > 0 {
			e.find(l, s)
		}
	}
}

// find keeps a finding.
func (e *engine) find(l *life, s seen) {
	same := 0
	for _, f := range e.found {
		if f.Promise == s.promise {
			same++
		}
	}
	if same == mostFindings || slices.Contains(e.Except, s.promise) {
		return
	}
	f := Finding{Promise: s.promise, Saw: s.saw, Seed: l.Seed, Moment: l.moment.name(e.Load), Last: l.lastLines(), logs: l.logs()}
	var b strings.Builder
	read(f.logs).WriteText(&b)
	f.Timeline = b.String()
	e.found = append(e.found, f)
}

// live runs a life, and returns what it showed. Whether it starts at all is a judgement on
// the life before. One that does not is tried again, twice at most.
func (e *engine) live(ctx context.Context, seed uint64, m moment) (*life, []seen, error) {
	next := seen{promise: NextStarts}
	for try := 1; ; try++ {
		l := e.life(seed, m)
		err := l.run(ctx)
		failed, _ := errors.AsType[*errStart](err)
		switch {
		case err != nil && failed == nil:
			return nil, nil, err
		case failed != nil && failed.slow && try == 1:
			next.unproven++
		case failed != nil && next.no == 0:
			next = seen{promise: NextStarts, no: 1, saw: "the next life: " + failed.why + lastWords(l)}
		}
		if failed == nil || try == 3 {
			if next.no+next.unproven == 0 && m.when != taken && m.when != starting {
				next.yes = 1
			}
			e.add(e.before, []seen{next}, nil)
		}
		if try == 3 && failed != nil {
			return nil, nil, err
		}
		if failed == nil {
			if m.when != taken {
				e.before = l
			}
			e.count(l)
			return l, l.judge(), nil
		}
	}
}

func lastWords(l *life) string {
	if l.proc == nil {
		return ""
	}
	if last := l.lastLines(); len(last) > 0 {
		return ": " + last[len(last)-1]
	}
	return ""
}

// lastLines returns the last lines that the program wrote.
func (l *life) lastLines() (last []string) {
	said := l.proc.said(time.Time{})
	for _, line := range said[max(0, len(said)-10):] {
		last = append(last, line.text)
	}
	return last
}

// progress writes a line about a life.
func (e *engine) progress(l *life, list []seen, then string) {
	if e.Progress == nil {
		return
	}
	var broken []string
	for _, s := range list {
		if s.no > 0 {
			broken = append(broken, string(s.promise))
		}
	}
	if broken == nil {
		broken = []string{"ok"}
	}
	fmt.Fprintf(e.Progress, "life %d of %d, seed %d, %s: %s%s\n", e.finished+1, e.Lives, l.Seed, l.moment.name(e.Load), strings.Join(broken, ", "), then)
}

// count adds the calls of a life that was asked to stop in order.
func (e *engine) count(l *life) {
	if !l.moment.orderly() {
		return
	}
	for _, r := range l.traffic.records() {
		c := &e.loads[r.load]
		*[]*int{&c.Answered, &c.Refused, &c.Lost, &c.Unproven}[r.end]++
	}
}

// result adds up.
func (e *engine) result() Result {
	r := Result{Lives: e.finished, Loads: e.loads, Findings: e.found}
	for _, p := range Promises() {
		s := e.seen[p]
		j := Judgment{Promise: p, Yes: s.yes, No: s.no, Unproven: s.unproven}
		switch {
		case s.no > 0 && slices.Contains(e.Except, p):
			j.Verdict = NotPromised
		case s.no > 0:
			j.Verdict = No
		case s.yes > 0:
			j.Verdict = Yes
		case s.unproven > 0:
			j.Verdict = Unproven
		default:
			j.Verdict = NotTried
		}
		r.Judgments = append(r.Judgments, j)
	}
	return r
}
