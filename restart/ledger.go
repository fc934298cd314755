package restart

import (
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/logs"
)

// A Ledger keeps the history of a process on disk, so that its [Policy] outlives
// the process. It slows down whatever keeps failing, at any period below
// Policy.Stable, even if a supervisor such as systemd restarts it at once.
//
//	ledger := &restart.Ledger{Path: "/var/lib/bot/ledger"}
//	g := lifecycle.Group{Start: ledger.Begin}
//	err := g.Run(ctx)
//	ledger.End(err, jobs.Cut()...)
//	os.Exit(lifecycle.ExitCode(err))
//
// A run lasts from Begin's return to End. It counts as failed in three cases:
//   - End got an error.
//   - End got nil, but no stop was requested and the run was shorter than
//     Policy.Stable. Under Restart=always or Kubernetes, a program that exits with 0
//     at once is a crash loop like any other.
//   - End was not called, so the process died. The run is taken to have lasted until
//     the next Begin, or until a boot before that, and the wait counts from there.
//     With a black box, its last sign of life dates a death in the same boot, to a
//     quarter of a second.
//
// [Ledger.Box] records which sessions are in flight, for the case that the process
// dies. [Ledger.Runs] and [Ledger.Table] show the history.
//
// The bounds of [Policy] hold for all starts but two kinds, which are no more
// frequent than the stops and the boots:
//   - A start after a requested stop does not wait, or a deploy would be slowed. The
//     level stays, so a crash loop goes on where it was.
//   - The first start of a boot may find the level one lower.
//
// The ledger never stops a service. If the file cannot be used, each Begin logs a
// warning. It waits for Policy.Min at least, and for the delay that the readable
// history and the runs of this process lead to. The file is left alone. The cases are:
//   - The directory is missing, the disk is read-only or frozen, or the file system
//     has no locks.
//   - Path is no regular file, or the file is not a ledger.
//   - A later version of this library writes the file.
//
// If a ledger is so damaged that no record can be read, Begin copies it to
// Path.corrupt, or Path.corrupt.1 and so on, and empties it.
//
// The file has a fixed size of 16 KiB and keeps the last 64 starts and ends. It is
// written in place and synced, which needs no free space except on copy-on-write
// file systems. Keep it in a place that outlives a restart: under systemd in
// StateDirectory=, not in RuntimeDirectory=; under Kubernetes in a volume, not in
// the container's own layer.
//
// Within a boot, times are from a clock that cannot be set. Across boots the wall
// clock counts. If it is stepped, a wait is still never longer than the level's delay
// or what [RetryAfter] asked for. A step back may hide a boot, or part of a run's
// time, and then less is forgiven. If the file moves to another machine, the delay
// begins there, because two machines' clocks may differ. Systems other than Linux and
// macOS have only the wall clock, and detect neither a boot nor a move.
//
// Each program needs its own ledger. Two processes at once do not damage it, but the
// second one takes the first for dead. If that can happen, call Begin after
// [Lock.Acquire]. The methods of one Ledger must not be called concurrently.
type Ledger struct {
	Path   string // the file; its directory must exist; use an absolute path if the process calls os.Chdir
	Policy Policy // its Logger gets the waits and the warnings

	// BoxPath is the file of the black box; "" means Path.inflight. The box need not
	// outlive a boot, so memory is the best place: a tmpfs that outlives the process,
	// such as an emptyDir of Kubernetes with medium: Memory, or under systemd a
	// RuntimeDirectory= with RuntimeDirectoryPreserve=restart. No entry waits for a disk
	// then. A Ledger that is only for Runs needs it, too.
	BoxPath string

	// Which sessions of the black box are suspects, see [Box.Suspect].
	Deaths      int // a session in flight at so many deaths in a row is a suspect; at most 100; 0 means 2
	MaxSuspects int // if more sessions qualify, none is a suspect; 0 means 8

	// CrashOutput makes Begin call [runtime/debug.SetCrashOutput] with the file
	// Path.crash. If a panic that no function recovers, a fatal error of the Go
	// runtime, or an abort in C code ends the process, the next Begin logs what the
	// runtime wrote, and records its first line. The setting belongs to the whole
	// process, so leave it false if another part of the program makes it.
	CrashOutput bool

	box   *Box      // nil: Box was not called
	open  *register // of the open run, nil if there is none
	whole whole     // what the last run that died had in flight

	run       *record     // the start of the open run, nil if there is none; seq is 0 if it has no record
	requested func() bool // reports whether a stop of that run was requested
	kept      *record     // the last run's end, if the file may lack it
	given     chan answer // gets the answer of an abandoned request; nil if there is none
	sys       *system     // nil: the machine
}

// Begin waits until the next run may begin, and records its start. Call it before
// anything else that the program does. It takes three steps:
//
//   - It sets the level. The level goes down by one for each Stable that the last run
//     lasted. It goes up by one if that run failed, as [Ledger] says. It goes down by
//     one if the machine was booted since and had been up for Stable when that run
//     ended: so a loop of boots is slowed too.
//   - It waits for the policy's delay for that level, or for what the last run asked
//     for by [RetryAfter] if that is longer. The time since the last run ended counts,
//     so a supervisor's own delay is not added. If the process ends in the wait, the
//     next Begin waits for the rest. After a requested stop there is no wait.
//   - It writes and syncs the start.
//
// If the last run died, and its black box or crash output is there, Begin logs how
// many sessions were in flight, and "sessions cut again" as End does.
//
// If ctx ends, Begin stops waiting and returns the cause. If Path is empty or Policy
// is not valid, it returns an error marked as permanent. Otherwise it returns nil. A
// disk that takes longer than 10 s for one of its two reads and writes counts as one
// that cannot be used. That time does not count as running time.
//
// End learns from ctx whether a stop was requested. So give Begin the context of
// lifecycle.WithSignals, or one made from it. The end of any other context counts as
// the request.
//
// If a run is open, Begin does nothing. That includes a run that this process began
// before it replaced itself by exec, which only Linux and macOS can tell.
func (l *Ledger) Begin(ctx context.Context) error {
	if l.Path == "" {
		return Permanent(errors.New("restart: Ledger: Path is empty; name a file that outlives the process"))
	}
	if err := cmp.Or(l.Policy.Validate(), l.validate()); err != nil {
		return Permanent(err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.run != nil {
		return nil
	}
	if l.sys == nil {
		l.sys = machine()
	}
	begun, floor := l.sys.now(), l.Policy.filled().Min
	l.requested = stopRequested(ctx)
	a, err := l.start(ctx, begun, 0)
	switch {
	case err != nil:
		return err
	case a.err != nil:
		a.wait = max(a.wait, floor)
		l.unavailable(ctx, a.err, a.wait)
	case a.wait > 0:
		warn(ctx, l.Policy.Logger, "restart wait", "cause", a.last.cause.String(), "ran", logs.Seconds(a.last.took), "backoff", a.last.level, "wait", logs.Seconds(a.wait))
	}
	l.tell(ctx, a)
	if l.run = a.run; l.run != nil && a.err == nil {
		return nil
	}
	if err := pause(ctx, "restart", a.wait); err != nil || l.run != nil {
		return err
	}
	b, err := l.start(ctx, begun, a.wait)
	if err != nil {
		return err
	}
	b.died = b.died && !a.died
	if a.box.err != nil {
		b.box.err = nil
	}
	l.tell(ctx, b)
	if l.run = b.run; b.err != nil && a.err == nil {
		l.unavailable(ctx, b.err, max(0, floor-a.wait))
		err = pause(ctx, "restart", floor-a.wait)
	}
	if l.run == nil && err == nil {
		l.run = &record{level: a.last.level, took: a.wait, pid: uint64(os.Getpid()), moment: l.sys.now()}
	}
	return err
}

// start begins a run on the disk, or returns how long to wait first.
func (l *Ledger) start(ctx context.Context, begun moment, waited time.Duration) (answer, error) {
	b := beginning{l.sys, l.Policy.filled(), l.kept, begun, waited, l.CrashOutput}
	path, boxPath, box, deaths, most := l.Path, l.boxPath(), l.box, cmp.Or(l.Deaths, 2), cmp.Or(l.MaxSuspects, 8)
	a, err := l.ask(ctx, beginPatience, func(h *handshake) (a answer) {
		var f *boxFile
		if box != nil {
			f = b.sys.openBox(boxPath)
			defer f.drop()
		}
		b.sys.edit(path, func(r *ring) { a = b.on(r, f, path) })
		if a.run != nil {
			a.box.open = box.register(f, b.sys, *a.run)
			a.box.learn(f, b.sys.now(), deaths, most, b.p.Stable)
		}
		if f != nil {
			a.box.err = f.err
		}
		if a.run != nil && !h.won() { // the caller has given up
			b.sys.edit(path, func(r *ring) { r.append(b.p.end(*a.run, b.sys.now(), nil, true)) })
			if open := a.box.open; open != nil {
				close(open.done)
				open.end()
			}
		}
		return a
	})
	if err == errFrozen {
		return b.on(&ring{err: err}, nil, path), nil
	}
	if err == nil && a.run != nil {
		l.recording(ctx, a)
	}
	return a, err
}

// A beginning is all that it takes to begin a run, except for the ring.
type beginning struct {
	sys    *system
	p      Policy
	kept   *record
	begun  moment // when Begin was called, so a stall of the disk is not the last run's time
	waited time.Duration
	crash  bool
}

// on writes the start of a run to r. If the run must wait first and has not waited
// yet, on returns how long instead. The black box is nil if there is none.
func (b beginning) on(r *ring, box *boxFile, path string) (a answer) {
	now, self := b.sys.now(), b.sys.self()
	start, end, seen := r.last(now.boot)
	var d *death
	switch {
	case b.kept != nil:
		start, end = record{}, *b.kept
	case end.cause == open && start.seq != 0 && start.who == self && self != 0:
		a.run = &start
		return a
	case end.cause == open && start.seq != 0:
		a.died = true
	}
	if a.died && r.hold != nil && box.usable() {
		d = box.died(start, r.newestDeath(start.run), b.begun, b.p.Stable)
		box.save()
	}
	a.last = b.p.settle(start, end, seen, b.begun, d)
	a.last.level, a.wait = b.p.owes(a.last, now)
	if d != nil {
		a.last.cut, a.again, a.runs = r.cut(a.last, d.cut, whole{d.before, d.again})
		a.box.whole = whole{start.run, d.cut}
		a.last.cuts, a.last.late = len(d.cut), late{again: uint32(a.again), over: uint32(d.over)}
	}
	if a.died && b.crash {
		a.box.crash = readCrash(path, start)
		a.last.crash = firstLine(a.box.crash)
	}
	if b.kept != nil || a.last.moment != end.moment && (a.wait > 0 || a.last.cause == died) {
		// If an impatient supervisor ends the wait, the next Begin continues
		// it, and does not count it as a part of the run.
		if _, a.err = r.append(a.last); a.err != nil {
			return a
		}
		a.wrote = b.kept
	}
	if a.wait > 0 && b.waited == 0 {
		return a
	}
	run, err := r.append(record{level: a.last.level, took: b.waited, pid: uint64(os.Getpid()), who: self, moment: now})
	if a.err = err; run.seq == 0 {
		return a
	}
	a.run = &run
	now = b.sys.now()
	late := now.since(run.moment) >= stall
	if run.moment = now; late && err == nil {
		_, a.err = r.put(run) // the stall is no part of the run
	}
	if b.crash {
		a.box.crashErr = setCrash(path, run)
	}
	return a
}

// stopRequested returns a function that reports whether a stop was requested of
// what runs under ctx. A context without a hook of lifecycle requests it by its end.
func stopRequested(ctx context.Context) func() bool {
	if stop, ok := ctx.Value(carried.StopKey).(*carried.Stop); ok && stop.Err != nil {
		return func() bool { return !stop.Asked().IsZero() || stop.Err() != nil }
	}
	return func() bool { return ctx.Err() != nil }
}

// End records how the run ended: well if err is nil, which Group.Run of lifecycle
// returns after a signal too, and failed otherwise. After a requested stop and a nil
// err, the next Begin does not wait. For a nil err without a stop see [Ledger].
//
// Cut names the sessions that the run did not let finish, as drain.Gate.Cut returns
// them. The file keeps no name, only salted hashes: a reader of the file can test a
// guess. It keeps eight, those first that the run before cut too. If there are any of
// these, End logs how many, and the longest row of runs that cut the same session.
//
// End logs a failure to write instead of returning it, as the caller could do nothing.
// The next process then takes the run for one that died. End waits for the disk for
// 1 s at most. If no run is open, it does nothing.
func (l *Ledger) End(err error, cut ...string) {
	if l.run == nil {
		return
	}
	start := *l.run
	end := l.Policy.filled().end(start, l.sys.now(), err, l.requested())
	end.cuts = len(cut)
	l.run = nil
	ctx, path, sys, kept, before := context.Background(), l.Path, l.sys, &end, l.whole
	closeBox := l.box.leave(l.open)
	l.open = nil
	a, err := l.ask(ctx, endPatience, func(*handshake) (a answer) {
		sys.edit(path, func(r *ring) {
			end := *kept
			end.salt = r.salt(end.salt)
			all := end.salt.prints(cut)
			end.cut, a.again, a.runs = r.cut(end, all, whole{before.run, both(all, before.cut)})
			end.again = uint32(a.again)
			if _, a.err = r.append(end); a.err == nil {
				a.wrote = kept
			}
		})
		closeBox()
		return a
	})
	if a.again > 0 {
		warn(ctx, l.Policy.Logger, "sessions cut again", "sessions", a.again, "runs", a.runs)
	}
	if err = cmp.Or(err, a.err); err == nil {
		l.kept = nil
		return
	}
	l.kept = kept
	if start.seq != 0 { // otherwise Begin has logged it
		l.unavailable(ctx, err, 0)
	}
}

func (l *Ledger) unavailable(ctx context.Context, err error, wait time.Duration) {
	warn(ctx, l.Policy.Logger, "ledger unavailable", "path", l.Path, "error", err, "wait", logs.Seconds(wait))
}
