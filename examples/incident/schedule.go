package main

import "time"

// The data of the replay: the incident's table of 2026-05-20, and what its programs
// did. No other file in this folder contains a time of the incident.

// How the programs were, and how the gateway's budget is to exceed an answer.
const (
	streams       = 16                     // at work in a CLI
	tasks         = 15                     // at work in a CLI
	longestAnswer = 150 * time.Second      // how long one is streamed: longer than the user ever waited for a cut one
	answersEnd    = 240 * time.Second      // the gateway's timeout for answers, after; a tenth of it is kept for force
	drainBudget   = 260 * time.Second      // for all of its drain, after
	restartMin    = 1 * time.Second        // the gateway's own delay after its first death, after
	restartMax    = 5 * time.Minute        // and its longest
	retryDelay    = 1 * time.Second        // a CLI's first, after; before there was none
	restartDelay  = 100 * time.Millisecond // the supervisor's on failure, in real time: systemd's default RestartSec
)

// An action is what happens to a session or the gateway at a time of the table.
type action string

const (
	start     action = "starts a CLI"
	ask       action = "asks"
	askAgain  action = "asks again, if cut"
	interrupt action = "SIGINT"
	hangUp    action = "SIGHUP"
	renew     action = "SIGTERM" // a restart job: stop, wait, start
)

// A state is what an event presupposes of its session, or of the gateway.
type state string

const (
	none      state = ""
	working   state = "16 streams and 15 tasks at work"
	connected state = "connected"
	streaming state = "streaming"
	replied   state = "streaming or answered"
	ready     state = "gateway ready"
	reacted   state = "cut and gateway ready, or gateway draining"
	killed    state = "gateway killed twice"
)

const gateway = "gateway"

// An event happens when its state is reached, and not before its time.
type event struct {
	at   string // 15:04:05
	who  string // a session, named for the time it began, or the gateway
	what action
	when state
	note string // the incident's own words
}

var schedule = []event{
	{"22:50:36", "225036", start, ready, "User started a CLI session"},
	{"22:51:59", "225036", interrupt, working, "CLI process crashed"},
	{"22:52:11", "225211", start, ready, "User's first reconnect attempt"},
	{"22:53:40", "225211", ask, connected, "API call began"},
	{"22:55:01", gateway, renew, streaming, "Gateway received SIGTERM"},
	{"22:55:13", "225211", askAgain, reacted, "API stream interrupted; retry"},
	{"22:55:38", "225211", hangUp, replied, "Retry interrupted again, SIGHUP received"},
	{"22:56:42", "225642", start, ready, "User's second reconnect attempt"},
	{"22:56:42", "225642", ask, connected, `typed "hi"`},
	{"22:58:54", gateway, renew, streaming, "Interrupted during API call, SIGTERM received"},
	{"23:01:46", gateway, renew, ready, "Gateway received SIGTERM again"},
	{"23:02:44", "230244", start, ready, "User's third attempt"},
	{"23:02:44", "230244", ask, connected, "recovered"},
}

// The worst form, of -kill. No signal asks the gateway to stop: a session kills it, and
// reconnects at once.
const poison = "225211"

var killing = []event{
	{"22:52:11", poison, start, ready, "User's first reconnect attempt, which crashes the gateway"},
	{"22:56:42", "225642", start, killed, "Another user's session"},
	{"22:56:42", "225642", ask, none, `typed "hi"`},
}

// after returns when the event happens, from the first one on.
func (e event) after(first event) time.Duration {
	return clock(e.at).Sub(clock(first.at))
}

func clock(s string) time.Time {
	t, err := time.Parse(time.TimeOnly, s)
	if err != nil {
		panic(err) // a mistake in the table above
	}
	return t
}
