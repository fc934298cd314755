package restart

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/carried"
	"github.com/evenkeel-go/evenkeel/internal/logs"
)

// A Lock lets only one process at a time do something, such as polling with a bot's
// token or writing to a database.
//
//	lock := &restart.Lock{Path: "/var/lib/bot/poller", Secret: token, Linger: 35 * time.Second}
//	g.Start = func(ctx context.Context) error {
//		if err := lock.Acquire(ctx); err != nil {
//			return err
//		}
//		return ledger.Begin(ctx)
//	}
//	err := g.Run(ctx)
//	if leak := (*lifecycle.LeakError)(nil); !errors.As(err, &leak) {
//		lock.Release(ctx) // no task is left that uses what it guards
//	}
//
// The kernel keeps the lock (flock; LockFileEx on Windows) and frees it when the
// process ends, however that happens, so a lock is never stale. Process ids decide
// nothing, since two containers may use the same ones. For people, the file says who
// holds the lock and since when. An exec frees the lock, so Release it first.
//
// The file stays. If it is deleted while the lock is held, a second process can get
// the lock. No lock file can prevent that, but Release reports it. The lock works
// among processes of one machine that see the same file. A network file system may
// not carry it to other machines.
//
// The methods of one Lock must not be called concurrently.
type Lock struct {
	// Path is the file. Its directory must exist. Use an absolute path if the process
	// calls os.Chdir. systemd deletes a RuntimeDirectory= at each stop, even after a
	// kill, so a lock in it never lingers.
	Path string
	// Secret, such as a token, gives each of its values its own lock: a hash of it is
	// added to Path. A short secret can be guessed from the hash. "" adds nothing.
	Secret string
	// Linger is how long Acquire waits if the last holder died without a Release,
	// because a server may still believe that the dead one is connected. For a long
	// poll, set the poll's timeout and a few seconds. 0 means no wait.
	Linger time.Duration
	// Logger gets a warning for each holder that Acquire waits for, and for each
	// linger. Nil means slog.Default.
	Logger *slog.Logger

	held  *hold // nil if the lock is not held
	since time.Time
	sys   *system // nil: the machine
}

// Acquire waits until this process holds the lock, and writes this process's id to
// the file. It logs the holder that it waits for. If the last holder died without a
// Release, Acquire then waits for Linger, however long ago that was. If that wait does
// not last to its end, the next holder waits for Linger too.
//
// If ctx ends first, the lock is not held, and the error names the holder and wraps
// ctx's cause. If Path is empty or no regular file, or its file is longer than a
// lock's, Acquire changes nothing and returns an error marked as permanent. Waiters
// get the lock in no particular order. Acquire panics if l holds the lock already.
func (l *Lock) Acquire(ctx context.Context) error {
	if l.held != nil {
		panic("restart: Lock.Acquire: the lock is held already")
	}
	if l.Path == "" {
		return Permanent(errors.New("restart: Lock: Path is empty; name a file in a directory that all processes share"))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.sys == nil {
		l.sys = machine()
	}
	h, err := l.wait(ctx)
	if err != nil {
		return err
	}
	before, died := "", false
	if l.Linger > 0 {
		before, died = holder(h)
	}
	l.since = time.Now().UTC()
	l.write(ctx, h, time.Time{})
	if died {
		warn(ctx, l.Logger, "lock lingers", "path", l.path(), "holder", before, "wait", logs.Seconds(l.Linger))
		if err := pause(ctx, "the lock's linger", l.Linger); err != nil {
			h.release() // without a record, as if we died: the next holder lingers too
			return fmt.Errorf("restart: Lock: %s: lingering after %s: %w", l.path(), before, err)
		}
	}
	l.held = h
	return nil
}

// wait polls for the lock. A context cannot end a blocking flock: its goroutine would
// stay, and take the lock later.
func (l *Lock) wait(ctx context.Context) (*hold, error) {
	const most = 50 * time.Millisecond
	said, told := "", time.Time{}
	for delay := time.Millisecond; ; delay = min(2*delay, most) {
		h, err := l.sys.grab(l.path())
		if h != nil && h.size() > 1+lineSize {
			h.release()
			h, err = nil, errLonger
		}
		switch {
		case errors.Is(err, errNotRegular) || err == errLonger:
			return nil, Permanent(fmt.Errorf("restart: Lock: %s: %w", l.path(), err))
		case errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOLCK):
			return nil, fmt.Errorf("restart: Lock: %s: its file system has no locks; put Path on a local one: %w", l.path(), err)
		case err != nil:
			return nil, fmt.Errorf("restart: Lock: %s: %w", l.path(), err)
		case h != nil:
			return h, nil
		}
		by := unnamed
		if f, err := l.sys.look(l.path()); err == nil {
			if who, died := holder(f); died {
				by = who
			}
			f.Close()
		}
		if by != said {
			said = by
			warn(ctx, l.Logger, "lock wait", "path", l.path(), "holder", by)
		}
		if time.Since(told) >= time.Second { // no end is known, so a supervisor is asked for time again
			told = time.Now()
			carried.Wait(ctx, "the lock, held by "+by, time.Time{})
		}
		if err := sleep(ctx, delay/2+rand.N(delay/2)); err != nil {
			return nil, fmt.Errorf("restart: Lock: %s: held by %s: %w", l.path(), by, err)
		}
	}
}

// Release unlocks and records a clean release, so the next holder does not linger.
// Call it when all that the lock guards has ended. If the file was deleted or
// replaced meanwhile, Release returns an error, because another process may have held
// the lock too. If the lock is not held, Release does nothing. It does not wait, and
// fits drain.Step.Stop.
func (l *Lock) Release(ctx context.Context) error {
	h := l.held
	if h == nil {
		return nil
	}
	l.held = nil
	ours, gone := h.at(l.path())
	l.write(ctx, h, time.Now().UTC())
	if err := h.release(); err != nil {
		return fmt.Errorf("restart: Lock: %s: %w", l.path(), err)
	}
	if gone != nil || !ours {
		return fmt.Errorf("restart: Lock: %s: was deleted or replaced while it was held; another process may have held it too", l.path())
	}
	return nil
}

func (l *Lock) path() string {
	if l.Secret == "" {
		return l.Path
	}
	sum := sha256.Sum256([]byte(l.Secret))
	return fmt.Sprintf("%s-%x", l.Path, sum[:8])
}

// The file holds one line about its holder, for people and for Linger. The line is
// padded to this size, as each is written over the one before.
const (
	lineSize   = 127
	sinceAt    = " since "
	releasedAt = ", released "
	unnamed    = "an unnamed process"
)

var errLonger = errors.New("it is longer than a lock's file, so it is left alone; set Path to a file that only the lock uses")

// holder returns the process that f names, and whether it still holds the lock or
// died without a Release. If a Lock did not write the text, the holder is unnamed.
func holder(f io.ReaderAt) (who string, holds bool) {
	b := make([]byte, lineSize)
	n, _ := f.ReadAt(b, 1)
	line := string(bytes.Trim(b[:n], " \n\x00"))
	if line == "" {
		return unnamed, false
	}
	name, ended, released := strings.Cut(line, releasedAt)
	rest, ours := strings.CutPrefix(name, "pid ")
	pid, since, _ := strings.Cut(rest, sinceAt)
	_, err := strconv.ParseUint(pid, 10, 64)
	if !ours || err != nil || !isTime(since) || released && !isTime(ended) {
		return unnamed, true
	}
	return name, !released
}

func isTime(s string) bool {
	_, err := time.Parse(time.RFC3339, s)
	return err == nil
}

// write records that we hold the lock, or have released it if ended is not zero. If
// it cannot be written, we hold the lock all the same.
func (l *Lock) write(ctx context.Context, h *hold, ended time.Time) {
	line := fmt.Append(make([]byte, 0, lineSize), "pid ", os.Getpid(), sinceAt)
	line = l.since.AppendFormat(line, time.RFC3339)
	if !ended.IsZero() {
		line = ended.AppendFormat(append(line, releasedAt...), time.RFC3339)
	}
	for len(line) < lineSize {
		line = append(line, ' ')
	}
	line[lineSize-1] = '\n'
	if _, err := h.WriteAt(line, 1); err != nil {
		warn(ctx, l.Logger, "lock record not written", "path", l.path(), "error", err)
	}
}
