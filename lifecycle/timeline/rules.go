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
	byWound     = "the session was cut before, and has had no answer since"
	byOpen      = "stopped before, and its sessions have had no answer since"
	byLife      = "failed again within 15 min of its start"
	byExit      = "its predecessor of the same name exited"
	byEnd       = "its predecessor of the same name was stopped"
	byWait      = "the wait before"
	byRetry     = "the process waited before, for the same task or another"
	byStart     = "the start of the session's server"
	byCut       = "the session had been cut"
	byReconnect = "the session had come back"
)

// newStops are the rules by which a stop is another one than that of its cause.
var newStops = []string{byWound, byOpen, byLife}

// How far apart cause and effect may be, where only time tells.
const (
	passing = time.Second      // of one signal along several processes
	sending = 10 * time.Second // of a signal to the process
	serving = time.Minute      // of a server's stop to a session
	nearby  = 30 * time.Second
	follow  = 15 * time.Minute // of an end to the next start, of a start to the next failure
)

// startRule is the rule by which a start or a wait follows.
func startRule(cause *Event) string {
	switch cause.Kind {
	case Wait:
		return byWait
	case Exit:
		return byExit
	}
	return byEnd
}

// endRule is the rule by which a process's end goes on.
func endRule(cause *Event) string {
	switch cause.Kind {
	case Failure:
		return byFailure
	case Drain:
		return byDrained
	}
	return byStop
}

// partRule is the rule by which a drain and its parts follow.
func partRule(cause *Event) string {
	switch {
	case cause != nil && cause.Kind == Phase:
		return byPhase
	case cause != nil && cause.Kind == Drain:
		return byDrain
	}
	return byStop
}
