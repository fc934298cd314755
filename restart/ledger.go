package restart

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/labels"
	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// A Ledger is the history of a process on disk, so that its [Policy] outlives
// it: whatever keeps failing is slowed down also when a supervisor such as
// systemd starts it again at once, and at any period below Policy.Stable.
//
//	ledger := &restart.Ledger{Path: "/var/lib/bot/ledger"}
//	g := lifecycle.Group{Start: ledger.Begin}
//	err := g.Run(ctx)
//	ledger.End(err, jobs.Cut()...)
//	os.Exit(lifecycle.ExitCode(err))
//
// A run lasts from Begin's return to End. One without an End, of a process that
// was killed, counts as failed, and as having lasted until the next Begin: when
// it died nobody has written down.
//
// The ledger never stops a service. Where there can be none (a directory that is
// missing or read-only, a file system without locks), or where the file is none
// (it is moved to Path.corrupt) or is written by a later version of this
// library (it is left alone), each Begin logs a warning and waits for
// Policy.Min, no more.
//
// The file has a fixed size of 16 KiB and keeps the last 64 starts and ends. It
// is written in place and synced, which needs no room on the disk, save on file
// systems that copy on write. Keep it where a restart leaves it: with systemd in
// StateDirectory=, not in RuntimeDirectory=; in Kubernetes in a volume, not in
// the container's own layer.
//
// Times within a boot are taken from a clock that nobody sets. Across a boot the
// wall clock counts. A step of it never makes a wait longer than the level's
// delay, or than what was asked for; one back may hide how long a run lasted, which
// then forgives less. Systems other than Linux and macOS have the wall clock alone,
// and do not see a boot.
//
// Each program has a ledger of its own. Two processes at once do not damage it,
// but the second takes the first for dead; where that can be, Begin follows
// [Lock.Acquire]. The methods of one Ledger must not be called concurrently.
type Ledger struct {
	Path   string // of the file; its directory must exist; absolute where the process calls os.Chdir
	Policy Policy // its Logger gets the waits and the warnings

	run  *record // the start of the run that is open; nil if there is none or it has no record
	over uint64  // the last run that End was told of, also where it could not write that
	sys  *system // nil: the machine
}

// Begin waits until the next run may begin, and records its start, before
// anything that the program does. Its steps each follow the one before:
//
//	the level goes down by one for each Stable that the last run lasted, then
//	up by one if it failed, then down by one if the machine was booted since
//	and had been up for Stable when the run ended: a loop of boots is slowed too
//	the policy's delay for that level, less what has passed since the last run
//	ended: a supervisor's own delay is not added. After an orderly end: none
//	the start is written and synced
//
// Where the last run asked for more by [RetryAfter], the delay is that. Begin
// returns nil, or the cause of ctx's end, which also ends the wait at once, or
// an error marked as permanent where Path or Policy cannot work.
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
	last, wait, err := l.start(0)
	floor := l.Policy.filled().Min
	switch {
	case err != nil:
		wait = max(wait, floor)
		warn(ctx, l.Policy.Logger, "ledger unavailable", "path", l.Path, "error", err, "wait", wait)
	case l.run != nil:
		return nil
	default:
		warn(ctx, l.Policy.Logger, "restart wait", "cause", last.cause.String(), "ran", last.took, "backoff", last.level, "wait", wait)
	}
	if err := pause(ctx, "restart", wait); err != nil {
		return err
	}
	if l.run != nil {
		return nil
	}
	if _, _, err2 := l.start(wait); err2 != nil && err == nil {
		warn(ctx, l.Policy.Logger, "ledger unavailable", "path", l.Path, "error", err2, "wait", max(0, floor-wait))
		return pause(ctx, "restart", floor-wait)
	}
	return nil
}

// start records the start of a run, unless it must wait first: then it returns
// the end of the last run and how long. Once it has waited, it need not.
func (l *Ledger) start(waited time.Duration) (last record, wait time.Duration, err error) {
	err = l.sys.edit(l.Path, func(r *ring) error {
		start, end := r.last()
		now, self := l.sys.now(), l.sys.self()
		if end.seq == 0 && start.seq != 0 && start.who == self && self != 0 && start.run != l.over {
			l.run = &start
			return nil
		}
		p := l.Policy.filled()
		last = p.settle(start, end, now)
		last.level, wait = p.owes(last, now)
		if last.moment != end.moment && (wait > 0 || last.cause == died) {
			// So that a wait that an impatient supervisor ends goes on at the
			// next Begin, and does not count as a part of the run.
			if _, err := r.append(last); err != nil {
				return err
			}
		}
		if wait > 0 && waited == 0 {
			return nil
		}
		run, err := r.append(record{level: last.level, took: waited, pid: uint64(os.Getpid()), who: self, moment: now})
		if run.seq != 0 {
			l.run = &run
		}
		return err
	})
	return last, wait, err
}

// settle returns the end of the last run as seen from now: in this boot, and
// where it left none, as that of a run that died just now or with its boot.
func (p Policy) settle(start, end record, now moment) record {
	if end.seq == 0 && start.seq != 0 {
		end = start
		end.cause, end.moment = died, now
		end.took = now.since(start.moment)
		if start.boot != now.boot {
			end.moment = moment{wall: now.wall - now.up, boot: start.boot}
			end.took = time.Duration(max(0, end.wall-start.wall))
			end.up = start.up + int64(end.took)
		}
		end.level, _ = p.decide(start.level, end.took, true, 0, 0)
	}
	switch {
	case end.boot != now.boot:
		if end.up >= int64(p.Stable) {
			end.level = max(0, end.level-1)
		}
		end.boot, end.up = now.boot, now.up-max(0, now.wall-end.wall)
	case end.up > now.up:
		end.up = now.up
	}
	return end
}

// owes returns the level that a settled end leads to, and what is left of its
// delay. The ledger's salt keeps machines that began together from starting
// together again.
func (p Policy) owes(end record, now moment) (level int, wait time.Duration) {
	level, wait = p.decide(end.level, 0, false, end.asked, int64(end.run^binary.LittleEndian.Uint64(end.salt[:])))
	if end.cause == ended {
		return level, 0
	}
	return level, max(0, wait-now.since(end.moment))
}

// End records how the run ended: in order where err is nil, as lifecycle's
// Group.Run returns it after a signal too, and else failed. Cut names whom it
// did not let finish; drain.Gate.Cut knows. The file keeps salted hashes, no
// name: who has it can test a guess, but not read. It keeps eight; of more, those
// first that the run before cut as well.
//
// Where the run before cut the same ones, a warning says how many of them, and
// in how many runs in a row the most unlucky was.
//
// End returns no error, as there is nothing to be done about one: the run then
// counts as one that died. It is logged. Without a run that is open End does nothing.
func (l *Ledger) End(err error, cut ...string) {
	if l.run == nil {
		return
	}
	start, now := *l.run, l.sys.now()
	l.run, l.over = nil, start.run
	end := start
	end.cause, end.moment, end.asked, end.took = causeOf(err), now, retryAfter(err), now.since(start.moment)
	end.level, _ = l.Policy.filled().decide(start.level, end.took, err != nil, 0, 0)
	end.cuts = len(cut)
	var again, runs int
	err = l.sys.edit(l.Path, func(r *ring) error {
		end.cut, again, runs = r.cut(start, cut)
		_, err := r.append(end)
		return err
	})
	ctx := context.Background()
	if again > 0 {
		warn(ctx, l.Policy.Logger, "sessions cut again", "sessions", again, "runs", runs)
	}
	if err != nil {
		warn(ctx, l.Policy.Logger, "ledger unavailable", "path", l.Path, "error", err)
	}
}

func causeOf(err error) cause {
	var p *labels.PanicError
	switch {
	case err == nil:
		return ended
	case wire.IsPermanent(err):
		return refused
	case errors.As(err, &p):
		return panicked
	}
	return failed
}

func warn(ctx context.Context, log *slog.Logger, msg string, args ...any) {
	if log != nil {
		log.WarnContext(ctx, msg, args...)
	}
}

// pause sleeps, and tells who asked to be told what for.
func pause(ctx context.Context, what string, d time.Duration) error {
	if d > 0 {
		wire.Wait(ctx, what, time.Now().Add(d))
	}
	return sleep(ctx, d)
}

// sleep waits for d or for the end of ctx, whose cause it returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Table returns the runs that the ledger knows, oldest first, as a table for
// people: when each began, at which level and after which wait, how long it
// lasted, what ended it, and how many sessions it cut, "again" those that the
// run before had cut too. An open run still goes on, or died since.
//
// It reads the file and changes nothing, also while others use it.
func (l *Ledger) Table() (string, error) {
	f, err := machine().look(l.Path)
	if err != nil {
		return "", fmt.Errorf("restart: Ledger: %w", err)
	}
	defer f.Close()
	h, _, err := read(f)
	if err != nil {
		return "", fmt.Errorf("restart: Ledger: %s: %w", l.Path, err)
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BEGAN\tLEVEL\tWAITED\tPID\tLASTED\tEND\tCUT")
	var before prints
	for start, end := range h.runs {
		began, level, waited := end.wall-int64(end.took), "?", "?" // where its start was overwritten
		if start.seq != 0 {
			began, level, waited = start.wall, fmt.Sprint(start.level), short(start.took)
		}
		lasted, cut := "", ""
		if end.seq != 0 {
			lasted, cut = short(end.took), fmt.Sprint(end.cuts)
		}
		if n := len(both(before[:], end.cut)); n > 0 {
			cut += fmt.Sprintf(", %d again", n)
		}
		before = end.cut
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%v\t%s\n", time.Unix(0, began).UTC().Format("2006-01-02T15:04:05.000Z"),
			level, waited, max(start.pid, end.pid), lasted, end.cause, cut)
	}
	t.Flush()
	return b.String(), nil
}

func short(d time.Duration) string { return d.Round(time.Millisecond).String() }
