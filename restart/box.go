package restart

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"
)

// A Box is the black box of a [Ledger]: it records which sessions are in flight, so
// that the next process knows them even if this one is killed by SIGKILL, by the
// kernel for want of memory, or by a crash in C code. [Ledger.Box] returns it. It is
// the Recorder of a drain.Gate.
//
//	box := ledger.Box() // before Begin
//	gate.Recorder = box
//
// Before a handler begins work that may kill the process again:
//
//	if s := session(r); box.Suspect(s) {
//		w.Header().Set("Retry-After", "600") // Policy.Stable
//		http.Error(w, "this session was in flight at the last crashes", http.StatusServiceUnavailable)
//		return
//	}
//
// The file is Ledger.BoxPath, of 64 KiB. It has room for 4032 entries at once. Further
// ones are only counted. It keeps no session, only hashes with a salt, so a reader of
// the file can test a guess. It does not outlive a boot, so a power cut loses it. A
// second process that uses the same ledger at the same time records nothing.
//
// Nothing that happens to the file stops the service. If it cannot be used or mapped,
// one line says so and nothing is recorded; the same goes for a file that is cut
// short while it is in use. Only Linux and macOS have a black box.
//
// Record work, not connections: a stream that is always in flight is there at each
// death and tells nothing. docs/blackbox.md says how.
//
// An entry is a store into memory that the kernel writes to the file later. While a
// disk hangs, such a store may have to wait for it, and the process with it. If that
// can happen, put the file on a tmpfs with Ledger.BoxPath.
//
// The methods may be called concurrently. The nil Box records nothing.
type Box struct {
	open    atomic.Pointer[register] // nil: nothing is recorded
	accused atomic.Pointer[accused]  // nil: no session is a suspect
	runs    uint32                   // that this process recorded; only the ledger's goroutine for the disk uses it
}

// A register is the mapped file during one run.
type register struct {
	words *[boxWords]atomic.Uint64
	live  int // the first word of the live area
	turn  uint32
	salt  salt

	hold   *hold // the file is closed; its lock says that this process lives
	faulty atomic.Pointer[error]
	box    *Box
	quit   chan struct{} // closed when the run ends
	done   chan struct{} // closed by the goroutine of live
}

// beat is how often a process gives a sign of life.
const beat = 250 * time.Millisecond

// A slot is the place of an entry in the live area, from 1, and above it the run's
// turn: an entry that outlives its run must not clear that of another.
const slotBits = 12

// Enter records that the session is in flight, and returns its slot for [Box.Leave].
// The slot is 0 if nothing was recorded: session is "", no run is open, or there is no
// room.
//
// It makes no system call, takes no lock and allocates nothing.
func (b *Box) Enter(session string) (slot uint32) {
	if b == nil || session == "" {
		return 0
	}
	r := b.open.Load()
	if r == nil {
		return 0
	}
	defer r.contain(debug.SetPanicOnFault(true))
	return r.enter(r.salt.mark(session))
}

// Leave ends the entry of a slot.
func (b *Box) Leave(slot uint32) {
	if b == nil || slot == 0 {
		return
	}
	r := b.open.Load()
	if r == nil || slot>>slotBits != r.turn {
		return
	}
	defer r.contain(debug.SetPanicOnFault(true))
	if i := int(slot&(1<<slotBits-1)) - 1; i >= 0 && i < room {
		r.words[r.live+i].Store(0)
	}
}

// enter looks for a free word in 8 of the area's 504 cache lines, which the mark
// chooses, so that few entries meet. A word belongs to the entry that changed it from
// 0, until that stores 0 again. At 9 words in 10 taken, an entry in a thousand finds
// none of its 64 free.
func (r *register) enter(m mark) uint32 {
	const width, lines = 8, room / 8
	line, step := uint64(m)>>32%lines, 1+uint64(m)>>48%(lines-1)
	for range 8 {
		for i := range width {
			i += int(line) * width
			if w := &r.words[r.live+i]; w.Load() == 0 && w.CompareAndSwap(0, uint64(m)) {
				return r.turn<<slotBits | uint32(i+1)
			}
		}
		line = (line + step) % lines
	}
	r.words[atOver].Add(1)
	return 0
}

// contain ends the recording if the mapping faults: the file was cut short, or its
// disk has no room or an error. It is to be deferred with the setting before.
func (r *register) contain(before bool) {
	debug.SetPanicOnFault(before)
	if e := recover(); e != nil {
		err, ok := e.(error)
		if !ok {
			err = fmt.Errorf("%v", e)
		}
		if r.faulty.CompareAndSwap(nil, &err) {
			r.box.open.CompareAndSwap(r, nil)
			r.store(atEnd, ^uint64(0)) // what leaves from now on would seem to be in flight
		}
	}
}

// store sets a word of the header.
func (r *register) store(word int, v uint64) {
	defer r.contain(debug.SetPanicOnFault(true))
	r.words[word].Store(v)
}

// keep gives signs of life, records a request to stop, and ends the suspicion at its
// time, until the run ends.
func (r *register) keep(sys *system, log *slog.Logger, path string, ctx context.Context, requested func() bool) {
	defer close(r.done)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	over, asked, warned := ctx.Done(), false, false
	for {
		select {
		case <-r.quit:
			return
		case <-over: // perhaps of a context for the start alone
			over = nil
		case <-tick.C:
		}
		now := sys.now().up
		switch err := r.faulty.Load(); {
		case err == nil:
			if !asked && requested() {
				asked = true
				r.store(atStop, ^uint64(0)) // so that no damaged byte makes it 0
			}
			r.store(atBeat, uint64(now))
		case !warned:
			warned = true
			boxUnavailable(ctx, log, path, *err)
		}
		if a := r.box.accused.Load(); a != nil && now >= a.until {
			r.box.accused.Store(nil)
		}
	}
}

// end closes the file. The goroutine of keep may be held by a disk that hangs.
func (r *register) end() {
	<-r.done
	r.store(atEnd, ^uint64(0))
	detach(unsafe.Pointer(r.words))
	r.hold.lock.Unlock()
}

// leave ends the recording, and returns what is left to do with the file.
func (b *Box) leave(r *register) func() {
	if b == nil || r == nil {
		return func() {}
	}
	b.open.Store(nil)
	close(r.quit)
	return r.end
}

func boxUnavailable(ctx context.Context, log *slog.Logger, path string, err error) {
	warn(ctx, log, "black box unavailable", "path", path, "error", err)
}

// A boxFile is the file of a black box, locked by this process.
type boxFile struct {
	*hold
	image
	err error // why it cannot be used; or what is wrong with what it had
}

// openBox opens the file and reads it. If it cannot be used, its hold is nil.
func (s *system) openBox(path string) *boxFile {
	if s.mapped == nil {
		return &boxFile{err: errNoMap}
	}
	h, err := s.grabSoon(path)
	if err == nil && h == nil {
		err = errBoxBusy
	}
	if err != nil {
		return &boxFile{err: err}
	}
	f := &boxFile{hold: h}
	content := make([]byte, boxSize+1)
	n, err := h.ReadAt(content, 0)
	if err == nil || err == io.EOF {
		f.image, err = parse(content[:n])
	}
	if f.err = err; err == errBoxDamaged && n > boxSize {
		err = h.Truncate(boxSize)
	}
	if f.image == nil || err != nil && err != errBoxDamaged {
		f.err = err
		f.drop()
	}
	return f
}

// drop gives the file up.
func (f *boxFile) drop() {
	if f != nil && f.hold != nil {
		f.release()
		f.hold = nil
	}
}

// usable reports whether the file may be read and written.
func (f *boxFile) usable() bool { return f != nil && f.hold != nil }

// save writes the image, or gives the file up.
func (f *boxFile) save() {
	if err := f.write(f.hold); err != nil {
		f.err = err
		f.drop()
	}
}

// register begins a run in the file and maps it, or returns nil.
func (b *Box) register(f *boxFile, sys *system, run record) *register {
	if !f.usable() {
		return nil
	}
	run.moment = sys.now() // after an exec, the run began long ago
	f.begin(run)
	if f.save(); !f.usable() {
		return nil
	}
	place, err := sys.mapped(f.hold.file)
	if err != nil {
		f.set(atRun, 0) // or the run would seem to have had nothing in flight
		f.save()
		f.err = err
		f.drop()
		return nil
	}
	b.runs++
	h := f.hold
	h.Close()
	f.hold = nil // the lock is the register's now
	return &register{
		words: (*[boxWords]atomic.Uint64)(place), live: headWords + int(f.live())*room, salt: run.salt,
		turn: b.runs & (1<<(32-slotBits) - 1), hold: h, box: b, quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// An accused is the set of suspects.
type accused struct {
	marks []mark // sorted
	named []atomic.Bool
	until int64 // ns since the boot
	salt  salt
	times int
	log   *slog.Logger
}

// Suspect reports whether the session was in flight at each of the last Deaths deaths
// of the process, a field of [Ledger], so that it may be what kills the process. Call
// it for each request, with the session that Enter gets. Without suspects it costs a
// few nanoseconds.
//
// Suspicion ends after Policy.Stable without a death. A session that still kills then
// needs Deaths more deaths to be a suspect again, so it causes up to Deaths of them in
// each Stable. If more than MaxSuspects
// sessions qualify, none is a suspect. A death after a requested stop, as when the
// grace period runs out, accuses no session. The first call that finds a session
// suspect logs its name.
//
// Suspect cannot know which of the sessions killed the process: an innocent one that
// is always connected, or always connects again at once, is a suspect too. Nor does it
// know of the deaths of replicas, which have separate ledgers.
func (b *Box) Suspect(session string) bool {
	if b == nil || session == "" {
		return false
	}
	a := b.accused.Load()
	if a == nil {
		return false
	}
	i, found := slices.BinarySearch(a.marks, a.salt.mark(session))
	if found && a.named[i].CompareAndSwap(false, true) {
		warn(context.Background(), a.log, "session suspected", "session", session, "deaths", a.times)
	}
	return found
}
