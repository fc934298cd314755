package stoptest

import (
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// A moment is when a life is stopped, and how. It follows from the seed alone.
type moment struct {
	when   when
	load   int // the index of the load in whose middle it is
	event  event
	signal os.Signal
	times  int           // how often it is sent, at most three; 0 if taken
	gap    time.Duration // between them
	delay  float64       // 0 to 1: of the start, or of the time for which it is under load
}

// A when says what the program does at the moment of its stop.
type when int

const (
	starting when = iota
	unused        // ready, and before any request
	loaded
	middle // of a call
	idle   // it has served, and its connections are kept
	taken  // it starts while its address is taken, and no signal is sent
)

// An event is what happens to a program shortly before its signal.
type event int

const (
	nothing event = iota
	orphaned
	stdinClosed
	stdoutClosed
)

// Two signals that are doubled apart are one request to some programs, as wrappers double a
// Ctrl-C, and two to others. Two that are apart are two.
const doubled, apart = 20 * time.Millisecond, 400 * time.Millisecond

// moments returns the moments of the first lives, those that find most first.
func (p Program) moments() (list []moment) {
	first := p.Signals[0]
	for i, l := range p.Load {
		if !l.Silent {
			list = append(list, moment{when: middle, load: i, signal: first, times: 1})
		}
	}
	for _, s := range p.Signals {
		list = append(list, moment{when: loaded, signal: s, times: 1})
	}
	list = append(list,
		moment{when: loaded, signal: first, times: 2, gap: apart},
		moment{when: loaded, signal: first, times: 3, gap: apart},
		moment{when: loaded, signal: os.Kill, times: 1},
		moment{when: idle, signal: first, times: 1},
		moment{when: starting, signal: first, times: 1},
		moment{when: taken},
		moment{when: unused, signal: first, times: 1},
		moment{when: loaded, signal: first, times: 2, gap: doubled},
		moment{when: loaded, signal: first, times: 1, event: stdoutClosed},
		moment{when: loaded, signal: first, times: 1, event: stdinClosed},
	)
	if canOrphan {
		list = append(list, moment{when: loaded, signal: first, times: 1, event: orphaned})
	}
	if !canSignal {
		list = []moment{{when: loaded, signal: os.Kill, times: 1}, {when: taken}}
	}
	return list
}

// moment returns the moment of a seed. In the second round of moments and later the signal
// and the gaps are random too.
func (p Program) moment(seed uint64) moment {
	list := p.moments()
	m := list[seed%uint64(len(list))]
	r := rand.New(rand.NewPCG(seed, 0))
	m.delay = r.Float64()
	if seed < uint64(len(list)) || m.when == taken || m.signal == os.Kill {
		return m
	}
	if s := p.Signals[r.IntN(len(p.Signals))]; m.event != orphaned { // a shell has its background processes ignore SIGINT
		m.signal = s
	}
	if m.holds() {
		m.gap += time.Duration(r.IntN(200)) * time.Millisecond
	}
	return m
}

// orderly reports whether the program is asked to stop in order.
func (m moment) orderly() bool { return m.times == 1 && m.signal != os.Kill }

// holds reports whether calls that the program has admitted stay in their middle until it
// exits, so that they hold up its stop.
func (m moment) holds() bool { return m.times > 1 && m.gap >= apart }

// name is the moment in words.
func (m moment) name(loads []Load) string {
	var b strings.Builder
	switch {
	case m.when == taken:
		return "start while the address is taken"
	case m.event == orphaned:
		b.WriteString("parent killed, then ")
	case m.event == stdinClosed:
		b.WriteString("stdin closed, then ")
	case m.event == stdoutClosed:
		b.WriteString("stdout closed, then ")
	}
	b.WriteString(signalName(m.signal))
	switch m.times {
	case 2:
		b.WriteString(" twice, " + m.gap.String() + " apart,")
	case 3:
		b.WriteString(" three times, " + m.gap.String() + " apart,")
	}
	switch m.when {
	case starting:
		b.WriteString(" during the start")
	case unused:
		b.WriteString(" before the first request")
	case loaded:
		b.WriteString(" under load")
	case middle:
		b.WriteString(" in the middle of " + loads[m.load].Name)
	case idle:
		b.WriteString(" while idle")
	}
	return b.String()
}
