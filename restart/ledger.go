package restart

import (
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/logs"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// A Ledger is the history of a process on disk, so that its [Policy] outlives
// it: whatever keeps failing is slowed down also if a supervisor such as systemd
// starts it again at once, and at any period below Policy.Stable.
//
//	ledger := &restart.Ledger{Path: "/var/lib/bot/ledger"}
//	g := lifecycle.Group{Start: ledger.Begin}
//	err := g.Run(ctx)
//	ledger.End(err, jobs.Cut()...)
//	os.Exit(lifecycle.ExitCode(err))
//
// A run lasts from Begin's return to End. A run without an End was killed. It
// counts as failed. Its time of death is unknown, so it is taken to have lasted
// until the next Begin. A run that ends with nil though no stop was requested
// counts as failed too, unless it lasted for Policy.Stable: under Restart=always
// or Kubernetes a program that exits with 0 at once is a crash loop like any other.
//
// So the bounds of [Policy] are true of every start but two kinds. A start after
// a requested stop does not wait, or a deploy would be slowed; the level stays, so
// a crash loop goes on where it was. The first start of a boot may find the level
// one lower. Neither kind is more frequent than the stops and the boots.
//
// The ledger never stops a service. If the file cannot be written, each Begin logs
// a warning and waits for Policy.Min at least, and for what is owed by the history
// that can be read and by the runs of this process. That is so if the directory is
// missing, if the disk is read-only or frozen, if the file system has no locks, if
// Path is no regular file, and if the file is not a ledger or a later version of
// this library writes it: all these are left alone. Only a ledger that is damaged
// all over is emptied, after a copy to Path.corrupt, or Path.corrupt.1 and so on.
//
// The file has a fixed size of 16 KiB and keeps the last 64 starts and ends. It
// is written in place and synced, which needs no room on the disk, save on file
// systems that copy on write. Keep it where a restart leaves it: with systemd in
// StateDirectory=, not in RuntimeDirectory=; in Kubernetes in a volume, not in
// the container's own layer.
//
// Times within a boot are taken from a clock that cannot be set. Across a boot the
// wall clock counts. A step of it never makes a wait longer than the level's
// delay, or than what was asked for; one back may hide a boot, or how long a run
// lasted, which then forgives less. If the file moves to another machine, the
// delay begins there, as two machines' clocks may differ. Systems other than Linux
// and macOS have the wall clock alone, and see neither a boot nor a move.
//
// Each program has a ledger of its own. Two processes at once do not damage it,
// but the second takes the first for dead; if that can be, call Begin after
// [Lock.Acquire]. The methods of one Ledger must not be called concurrently.
type Ledger struct {
	Path   string // of the file; its directory must exist; absolute if the process calls os.Chdir
	Policy Policy // its Logger gets the waits and the warnings

	run       *record     // the start of the run that is open; nil if none is; its seq is 0 if it has no record
	requested func() bool // whether a stop of that run was requested
	over      uint64      // the last run with a record that has ended, also if its end has none
	kept      *record     // the last run's end, if the file may not have it
	given     chan answer // the answer of the request that was given up; nil if there is none
	sys       *system     // nil: the machine
}

// Begin waits until the next run may begin, and records its start, before
// anything that the program does:
//
//   - The level goes down by one for each Stable that the last run lasted. It goes
//     up by one if that run failed, died, or ended by itself before Stable. It goes
//     down by one if the machine was booted since, and had been up for Stable
//     before: a loop of boots is slowed too.
//   - Begin waits for the policy's delay for that level, less what has passed since
//     the last run ended, so a supervisor's own delay is not added. After a
//     requested stop it does not wait. If the last run asked for more by
//     [RetryAfter], the delay is that.
//   - The start is written and synced.
//
// Begin returns nil, or the cause of ctx's end, which also ends the wait at once,
// or an error marked as permanent if Path is empty or Policy is not valid. A disk
// that takes longer than 10 s for one of its two reads and writes counts as one
// that cannot be used. The time that it took does not count as running time.
//
// End learns from ctx whether a stop was requested, so give Begin the context of
// lifecycle.WithSignals or one made from it. Of another context it is the end that
// requests a stop.
//
// Begin of a run that is open does nothing, also in a process that has replaced
// itself by exec, which Linux and macOS can tell.
func (l *Ledger) Begin(ctx context.Context) error {
	if l.Path == "" {
		return Permanent(errors.New("restart: Ledger: Path is empty; name a file that outlives the process"))
	}
	if err := l.Policy.Validate(); err != nil {
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
		l.warn(ctx, "restart wait", "cause", a.last.cause.String(), "ran", logs.Seconds(a.last.took), "backoff", a.last.level, "wait", logs.Seconds(a.wait))
	}
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
	if l.run = b.run; b.err != nil && a.err == nil {
		l.unavailable(ctx, b.err, max(0, floor-a.wait))
		err = pause(ctx, "restart", floor-a.wait)
	}
	if l.run == nil && err == nil {
		l.run = &record{level: a.last.level, took: a.wait, pid: uint64(os.Getpid()), moment: l.sys.now()}
	}
	return err
}

// start asks the disk for what begins a run.
func (l *Ledger) start(ctx context.Context, begun moment, waited time.Duration) (answer, error) {
	b := beginning{l.sys, l.Policy.filled(), l.over, l.kept, begun, waited}
	path := l.Path
	a, err := l.ask(ctx, beginPatience, func(h *handshake) (a answer) {
		b.sys.edit(path, func(r *ring) { a = b.on(r) })
		if a.run != nil && !h.won() { // the caller does not know of it
			b.sys.edit(path, func(r *ring) { r.append(b.p.end(*a.run, b.sys.now(), nil, true)) })
		}
		return a
	})
	if err == errFrozen {
		return b.on(&ring{err: err}), nil
	}
	return a, err
}

// A beginning is what it takes to begin a run, apart from the ring.
type beginning struct {
	sys    *system
	p      Policy
	over   uint64
	kept   *record
	begun  moment // when Begin was called: a stall of the disk is not the last run's time
	waited time.Duration
}

// on writes the start of a run, unless it must wait first: then the answer is how
// long. Once it has waited, it need not.
func (b beginning) on(r *ring) (a answer) {
	now, self := b.sys.now(), b.sys.self()
	start, end, seen := r.last(now.boot)
	switch {
	case b.kept != nil:
		start, end = record{}, *b.kept
	case end.cause == open && start.seq != 0 && start.who == self && self != 0 && start.run != b.over:
		a.run = &start
		return a
	}
	a.last = b.p.settle(start, end, seen, b.begun)
	a.last.level, a.wait = b.p.owes(a.last, now)
	if b.kept != nil || a.last.moment != end.moment && (a.wait > 0 || a.last.cause == died) {
		// So that a wait that an impatient supervisor ends goes on at the
		// next Begin, and does not count as a part of the run.
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
		_, a.err = r.put(run) // the stall is not a part of the run
	}
	return a
}

// stopRequested returns a function that reports whether a stop of what runs under
// ctx was requested: by a hook of lifecycle, or of another ctx by its end.
func stopRequested(ctx context.Context) func() bool {
	if stop, ok := ctx.Value(wire.StopKey).(*wire.Stop); ok && stop.Err != nil {
		return func() bool { return !stop.Asked().IsZero() || stop.Err() != nil }
	}
	return func() bool { return ctx.Err() != nil }
}

// End records how the run ended: in order if err is nil, as lifecycle's Group.Run
// returns it after a signal too, and else failed. An orderly end after a requested
// stop is free of any wait; see [Ledger] for one without.
//
// Cut names the sessions that the run did not let finish; drain.Gate.Cut knows
// them. The file keeps salted hashes, no name: who has it can test a guess, but
// not read. It keeps eight; of more, those first that the run before cut too. If
// the run before cut the same ones, a warning says how many of them, and in how
// many runs in a row the most unlucky was.
//
// End returns no error, as there is nothing to be done about one: it is logged,
// and to the next process the run is one that died. End waits for the disk for 1 s
// at most. Without a run that is open it does nothing.
func (l *Ledger) End(err error, cut ...string) {
	if l.run == nil {
		return
	}
	start := *l.run
	end := l.Policy.filled().end(start, l.sys.now(), err, l.requested())
	end.cuts = len(cut)
	if l.run = nil; start.seq != 0 {
		l.over = start.run
	}
	ctx, path, sys, kept := context.Background(), l.Path, l.sys, &end
	a, err := l.ask(ctx, endPatience, func(*handshake) (a answer) {
		sys.edit(path, func(r *ring) {
			end := *kept
			end.salt = r.salt(end.salt)
			end.cut, a.again, a.runs = r.cut(end, cut)
			if _, a.err = r.append(end); a.err == nil {
				a.wrote = kept
			}
		})
		return a
	})
	if a.again > 0 {
		l.warn(ctx, "sessions cut again", "sessions", a.again, "runs", a.runs)
	}
	if err = cmp.Or(err, a.err); err == nil {
		l.kept = nil
		return
	}
	l.kept = kept
	if start.seq != 0 { // else Begin has said it
		l.unavailable(ctx, err, 0)
	}
}

func (l *Ledger) unavailable(ctx context.Context, err error, wait time.Duration) {
	l.warn(ctx, "ledger unavailable", "path", l.Path, "error", err, "wait", logs.Seconds(wait))
}

func (l *Ledger) warn(ctx context.Context, msg string, args ...any) {
	logs.Loud(l.Policy.Logger).WarnContext(ctx, msg, args...)
}
