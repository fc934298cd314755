package timeline

import "time"

// The rules by which an event is taken for the effect of another. They are what
// a reader has to believe, so each is one sentence about lines.
const (
	byOrder     = "the order that it passes on, within a second"
	bySignal    = "the signal that was sent to it"
	byKill      = "the signal that was sent to the session's own process"
	byOwnStop   = "its own stop"
	byFailure   = "the failure before, in the same process"
	byStop      = "the stop of the same process"
	byDrain     = "the drain under way"
	byDrained   = "the end of its drain"
	byPhase     = "the phase under way"
	byServer    = "the session's server was stopping"
	byClient    = "the session's own process was ending"
	byNearest   = "the latest stop, within 30 s, as its server is not in the logs"
	byCutBefore = "the session was cut before, and has had no answer since"
	byOpen      = "stopped before, and its sessions have had no answer since"
	byLife      = "failed again within 15 min of its start"
	byExit      = "its predecessor of the same name exited"
	byEnd       = "its predecessor of the same name was stopped"
	byWait      = "the wait before"
	byRetry     = "the process waited before, for the same task or another"
	byStart     = "the start of the session's server"
	byCut       = "the session had been cut"
	byReconnect = "the session had come back"
	byDisobeyed = "the order before, which was not obeyed in time"
	byParent    = "its parent was stopping, or reloading"
	byChild     = "the end of a child, just before"
	bySibling   = "another child of its parent had crashed"
	byFault     = "the failure that the same program reports"
	byNeed      = "what it depends on was stopping, by its name"
	byNeedChild = "a child of what it depends on had ended, by its name"
	byAddr      = "what listens at its address was stopping"
	byAddrChild = "a child of what listens at its address had ended"
	byAddrBack  = "what listens at its address is back"
	byLost      = "the connection had been lost"
	byBack      = "what it depends on is back, by its name"
	byLatest    = "the latest stop, within 10 s"
	byNeedTime  = "another unit had failed just before"
	byKernel    = "the kernel had killed a process just before"
	byBackTime  = "the latest start, within 10 s"
)

// byTime are the rules for which only time speaks.
var byTime = []string{byNearest, byLatest, byNeedTime, byKernel, byBackTime}

// How far apart cause and effect may be, if only time tells.
const (
	early   = 100 * time.Millisecond // systemd tells of a stop when it has sent the signal
	passing = time.Second            // of one signal along several processes
	sending = 10 * time.Second       // of a signal to the process
	serving = time.Minute            // of a server's stop to a session
	reuse   = 2 * time.Minute        // of a process id, at the earliest
	nearby  = 30 * time.Second
	follow  = 15 * time.Minute // of an end to the next start, of a start to the next failure
)

// follows is the rule by which what happens to a process, or to the one in its
// place, follows what happened before.
func follows(kind eventKind, cause *event) string {
	part := kind == kindDrain || kind == kindPhase || kind == kindStep
	switch {
	case cause.Kind == kindWait:
		return byWait
	case cause.Kind == kindExit && !part:
		return byExit
	case kind == kindStart || kind == kindWait:
		return byEnd
	case part && cause.Kind == kindPhase:
		return byPhase
	case part && cause.Kind == kindDrain:
		return byDrain
	case cause.Kind == kindDrain:
		return byDrained
	case cause.Kind == kindFailure && !part:
		return byFailure
	}
	return byStop
}
