package stoptest

// A Promise is what a program that stops well keeps. Its text is its name in tables.
type Promise string

// All promises, in the order of tables. A stop is orderly if it is one of Program.Signals,
// sent once. The death of the parent or the end of stdin or stdout may precede it.
const (
	// WorkAnswered: no call was lost in a life that ended in an orderly stop.
	WorkAnswered Promise = "admitted work answered"

	// StreamsEnded: each stream that had begun ended with its framing complete, and with
	// its goodbye if the load names one, in a life that ended in an orderly stop.
	StreamsEnded Promise = "streams ended well"

	// RefusedCleanly: each call that began after the signal was answered or refused. One
	// that waited for a second or more without a byte, and was then cut, was not.
	RefusedCleanly Promise = "refused cleanly"

	// ReadinessFirst: after an orderly stop Ready failed while new connections were still
	// accepted. It needs a Ready. A probe is sent every 15 ms, so 100 ms are seen.
	ReadinessFirst Promise = "readiness failed first"

	// InTime: after an orderly stop, also one whose signal came twice within 20 ms, the
	// program exited within Budget.
	InTime Promise = "in time"

	// ExitStatus: after an orderly stop the status says what happened. It is 0, 128 + the
	// signal's number or death by that signal if all went well. It is something else if
	// work was lost, if the output has a Go panic or a fatal error, or if the program
	// could not start because its address was taken.
	ExitStatus Promise = "exit status"

	// SecondForces: while work holds up the stop, a second signal ends the program within
	// a fifth of Budget, or a second if that is more. It is sent after 400 ms or more. One
	// after 20 ms may or may not count, as wrappers double a Ctrl-C.
	SecondForces Promise = "second signal forces"

	// ThirdKills: so does a third one, if the program outlived the second until then.
	ThirdKills Promise = "third kills"

	// NothingLeft: a second after an orderly stop no child of the program runs. Its address
	// is free, it left no file in TMPDIR, and no lock (flock) is held in Life.Dir.
	NothingLeft Promise = "nothing left"

	// NextStarts: the next life got ready, at the same address and in the same Life.Dir,
	// and answered each load before it was stopped.
	NextStarts Promise = "next life starts"

	// WorkThere: Program.Acknowledged returned nil in the next life, also after SIGKILL.
	WorkThere Promise = "acknowledged work is there"

	// SaidWhy: a life that exited with a status other than 0, and by no signal, had
	// written a line since its first signal, or since its start if its address was taken.
	SaidWhy Promise = "said why it failed"
)

// Promises returns all promises, in the order of tables.
func Promises() []Promise {
	return []Promise{WorkAnswered, StreamsEnded, RefusedCleanly, ReadinessFirst, InTime, ExitStatus,
		SecondForces, ThirdKills, NothingLeft, NextStarts, WorkThere, SaidWhy}
}

// A Verdict is what all lives together say about a promise.
type Verdict string

const (
	Yes         Verdict = "yes"
	No          Verdict = "no"           // it is broken
	Unproven    Verdict = "unproven"     // it was tried, and nothing of it could be seen
	NotTried    Verdict = "not tried"    // no life, load or moment could show it
	NotPromised Verdict = "not promised" // it is in Program.Except, and would be broken
)
