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
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/wire"
)

// A Lock lets one process at a time do what only one may, such as polling with a
// bot's token or writing to a database.
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
//		lock.Release(ctx) // no task is left; there was none if Begin failed
//	}
//
// The kernel holds it (flock; LockFileEx on Windows) and frees it when its
// process ends, however that happens, so it is never stale. Process ids decide
// nothing: in two containers they may well be the same. What the file says, who
// holds it and since when, is for people. An exec lets go of the lock: Release
// it first.
//
// The file stays. Whoever deletes it while the lock is held makes room for a
// second holder, which no kind of lock file can prevent; Release says so. The
// lock holds among the processes of one machine that see the same file: a file
// system over a network may not carry it to others.
//
// The methods of one Lock must not be called concurrently.
type Lock struct {
	// Path of the file; its directory must exist; absolute where the process calls
	// os.Chdir. systemd deletes a RuntimeDirectory= at each stop, also after a kill:
	// then nobody lingers.
	Path string
	// Secret, such as a token, has a lock for each value of it: a hash of it is
	// added to Path. A short one can be guessed from that. "" adds nothing.
	Secret string
	// Linger is how long Acquire waits after a holder that did not release the
	// lock, as a server may still think that the dead one is there. For a long
	// poll it is the poll's timeout and a few seconds. 0 means no wait.
	Linger time.Duration
	// Logger gets whom Acquire waits for; nil means silence.
	Logger *slog.Logger

	held  *hold // nil while it is not
	since time.Time
	sys   *system // nil: the machine
}

// Acquire waits until this process holds the lock. It logs for whom it waits,
// and writes into the file who holds it now. Then, where the holder before did
// not release it, it waits for Linger.
//
// Where ctx ends first, the lock is not held, and the error names the holder and
// wraps ctx's cause. Waiters are served in no order. Acquire panics where the
// lock is held by this value already.
func (l *Lock) Acquire(ctx context.Context) error {
	if l.held != nil {
		panic("restart: Lock.Acquire: it is held already")
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
	before := ""
	if l.Linger > 0 {
		before = holder(h)
	}
	l.since = time.Now().UTC()
	l.write(ctx, h, time.Time{})
	if before != "" && !strings.Contains(before, releasedAt) {
		warn(ctx, l.Logger, "lock lingers", "path", l.path(), "holder", before, "wait", l.Linger)
		if err := pause(ctx, "the lock's linger", l.Linger); err != nil {
			h.release() // as a death would: the next holder lingers too
			return fmt.Errorf("restart: Lock: %s: lingering after %s: %w", l.path(), before, err)
		}
	}
	l.held = h
	return nil
}

// wait tries again and again, as a flock that blocks cannot be ended by a
// context: its goroutine would stay, and take the lock later.
func (l *Lock) wait(ctx context.Context) (*hold, error) {
	const most = 50 * time.Millisecond
	said, told := "", time.Time{}
	for delay := time.Millisecond; ; delay = min(2*delay, most) {
		h, err := l.sys.grab(l.path())
		switch {
		case errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOLCK):
			return nil, fmt.Errorf("restart: Lock: %s: its file system has no locks; put Path on a local one: %w", l.path(), err)
		case err != nil:
			return nil, fmt.Errorf("restart: Lock: %s: %w", l.path(), err)
		case h != nil:
			return h, nil
		}
		by := ""
		if f, err := os.Open(l.path()); err == nil {
			by = holder(f)
			f.Close()
		}
		if by == "" || strings.Contains(by, releasedAt) {
			by = "a process that has not said who it is"
		}
		if by != said {
			said = by
			warn(ctx, l.Logger, "lock wait", "path", l.path(), "holder", by)
		}
		if time.Since(told) >= time.Second { // nobody knows until when, so it is said again
			told = time.Now()
			wire.Wait(ctx, "the lock, held by "+by, time.Time{})
		}
		if err := sleep(ctx, delay/2+rand.N(delay/2)); err != nil {
			return nil, fmt.Errorf("restart: Lock: %s: held by %s: %w", l.path(), by, err)
		}
	}
}

// Release lets the next one in, who need not linger: call it when all that the
// lock guards has ended. Its error says that the file was deleted or replaced
// meanwhile, so that another process may have held the lock as well. A lock that
// is not held is left alone. It does not wait; it fits drain.Step.Stop.
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

// What the file says of its holder, for people and for Linger, is a line of this
// size, spaces included, as each is written over the one before.
const lineSize = 127

// holder returns what f says, or "" where nobody has said anything.
func holder(f io.ReaderAt) string {
	b := make([]byte, lineSize)
	n, _ := f.ReadAt(b, 1)
	return string(bytes.TrimSpace(b[:n]))
}

const releasedAt = ", released "

// write says that we hold the lock, and that we have released it where ended is
// not zero. Where that fails, the lock holds all the same.
func (l *Lock) write(ctx context.Context, h *hold, ended time.Time) {
	line := fmt.Append(make([]byte, 0, lineSize), "pid ", os.Getpid(), " since ")
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
