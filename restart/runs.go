package restart

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// A Cause says how a run ended.
type Cause string

// The causes.
const (
	Open     Cause = "open"      // it is still running, or has died and no Begin has found that out
	Stopped  Cause = "stopped"   // with nil, after a stop was requested
	Ended    Cause = "ended"     // with nil, though no stop was requested
	Failed   Cause = "failed"    // with an error
	Panicked Cause = "panicked"  // with a panic in a task of a group
	Refused  Cause = "permanent" // with a [Permanent] error
	Died     Cause = "died"      // without an End: it was killed, or called os.Exit
	Crashed  Cause = "crashed"   // without an End, and it left a crash output, see [Ledger]
)

// A Run is one run of a process, from Begin to End or to its death.
type Run struct {
	Number uint64 // grows from run to run, not by one
	PID    int
	Began  time.Time
	Level  int           // at which it began; -1 if its start was overwritten
	Waited time.Duration // before it began
	Lasted time.Duration // 0 while it is open; of a death, to within a second if there is a black box
	Cause  Cause

	Cut        int    // sessions that an orderly run did not let finish, as End got them
	InFlight   int    // sessions in flight when it died, or now if it is open; needs a [Box]
	Again      int    // those of Cut or InFlight that the run before cut or had in flight too
	Unrecorded int    // entries for which the black box had no room
	Crash      string // the first line of the crash output

	salt  salt
	known []uint32 // sorted
}

// Had reports whether the session was one of those that the run cut or had in flight.
// A true is wrong once in 500 million. A false is certain only if the run was the last
// to die, or if Cut or InFlight is eight at most: the ledger keeps eight for each run,
// those with Again first.
func (r Run) Had(session string) bool {
	_, found := slices.BinarySearch(r.known, r.salt.mark(session).print())
	return found
}

// MarshalJSON writes times in RFC 3339 and durations in seconds.
func (r Run) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Number     uint64    `json:"run"`
		PID        int       `json:"pid"`
		Began      time.Time `json:"began"`
		Level      int       `json:"level"`
		Waited     float64   `json:"waited_seconds"`
		Lasted     float64   `json:"lasted_seconds"`
		Cause      Cause     `json:"cause"`
		Cut        int       `json:"cut"`
		InFlight   int       `json:"in_flight"`
		Again      int       `json:"again"`
		Unrecorded int       `json:"unrecorded,omitempty"`
		Crash      string    `json:"crash,omitempty"`
	}{r.Number, r.PID, r.Began, r.Level, r.Waited.Seconds(), r.Lasted.Seconds(), r.Cause, r.Cut, r.InFlight, r.Again, r.Unrecorded, r.Crash})
}

// Runs returns the runs in the ledger, newest last. The last 64 starts and ends are
// there.
//
// Runs only reads the file and that of the black box. It may be called while other
// processes use them.
func (l *Ledger) Runs() ([]Run, error) {
	sys := machine()
	f, err := sys.look(l.Path)
	if err != nil {
		return nil, fmt.Errorf("restart: Ledger: %w", err)
	}
	defer f.Close()
	h, _, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("restart: Ledger: %s: %w", l.Path, err)
	}
	box := sys.lookBox(l.boxPath())
	var all []Run
	var before prints
	for start, end := range h.runs {
		last := end
		if end.seq == 0 {
			last = start
		}
		r := Run{
			Number: last.run, PID: int(max(start.pid, end.pid)), Level: -1,
			Began: time.Unix(0, end.wall-int64(end.took)).UTC(), // if its start was overwritten
			salt:  last.salt, known: slices.DeleteFunc(slices.Clone(end.cut[:]), func(p uint32) bool { return p == 0 }),
			Lasted: end.took, Cause: Cause(end.cause.String()), Crash: end.crash,
			Again: max(int(end.again), len(both(before[:], end.cut[:]))), Unrecorded: int(end.over),
		}
		before = end.cut
		if start.seq != 0 {
			r.Began, r.Level, r.Waited = time.Unix(0, start.wall).UTC(), start.level, start.took
		}
		switch r.Cut = end.cuts; {
		case end.cause == died:
			r.Cut, r.InFlight = 0, end.cuts
			if r.Crash != "" {
				r.Cause = Crashed
			}
			if box != nil && box.word(atDead) == r.Number && box.salt() == r.salt {
				r.known = box.cut()
			}
		case end.seq == 0 && box != nil && box.word(atRun) == r.Number && box.of(start.salt, start.boot):
			for mark := range entries(box.area(box.live())) {
				r.known = append(r.known, mark.print())
			}
			slices.Sort(r.known)
			r.known = slices.Compact(r.known)
			r.InFlight, r.Unrecorded = len(r.known), int(box.word(atOver))
		}
		slices.Sort(r.known)
		all = append(all, r)
	}
	return all, nil
}

// lookBox reads the file of a black box. It returns nil if that cannot be used.
func (s *system) lookBox(path string) image {
	f, err := s.look(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, boxSize+1)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil
	}
	m, err := parse(b[:n])
	if err != nil {
		return nil
	}
	return m
}
