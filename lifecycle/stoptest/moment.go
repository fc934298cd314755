package stoptest

import (
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// A moment is when a life is stopped, and how. It follows from the seed alone.
type moment struct {
	when    when
	load    int // the index of the load in whose middle it is
	event   event
	signals []os.Signal   // at most three
	gap     time.Duration // between them
	delay   float64       // 0 to 1: of the start, or of the time for which it is under load
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
	first := p.Signals[:1]
	for i, l := range p.Load {
		if !l.Silent {
			list = append(list, moment{when: middle, load: i, signals: first})
		}
	}
	for _, s := range p.Signals {
		list = append(list, moment{when: loaded, signals: []os.Signal{s}})
	}
	times := func(n int) (same []os.Signal) {
		for range n {
			same = append(same, first[0])
		}
		return same
	}
	list = append(list,
		moment{when: loaded, signals: times(2), gap: apart},
		moment{when: loaded, signals: times(3), gap: apart},
		moment{when: loaded, signals: []os.Signal{os.Kill}},
		moment{when: idle, signals: first},
		moment{when: starting, signals: first},
		moment{when: taken},
		moment{when: unused, signals: first},
		moment{when: loaded, signals: times(2), gap: doubled},
		moment{when: loaded, signals: first, event: stdoutClosed},
		moment{when: loaded, signals: first, event: stdinClosed},
	)
	if canOrphan {
		list = append(list, moment{when: loaded, signals: first, event: orphaned})
	}
	if !canSignal {
		list = []moment{{when: loaded, signals: []os.Signal{os.Kill}}, {when: taken}}
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
	if seed < uint64(len(list)) || len(m.signals) == 0 || m.signals[0] == os.Kill {
		return m
	}
	s := p.Signals[r.IntN(len(p.Signals))]
	if m.event == orphaned {
		s = p.Signals[0] // a shell has its background processes ignore SIGINT
	}
	same := make([]os.Signal, len(m.signals))
	for i := range same {
		same[i] = s
	}
	m.signals = same
	if m.holds() {
		m.gap += time.Duration(r.IntN(200)) * time.Millisecond
	}
	return m
}

// orderly reports whether the program is asked to stop in order.
func (m moment) orderly() bool { return len(m.signals) == 1 && m.signals[0] != os.Kill }

// holds reports whether calls that the program has admitted stay in their middle until it
// exits, so that they hold up its stop.
func (m moment) holds() bool { return len(m.signals) > 1 && m.gap >= apart }

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
	b.WriteString(signalName(m.signals[0]))
	switch n := len(m.signals); {
	case n == 2:
		b.WriteString(" twice, " + m.gap.String() + " apart,")
	case n == 3:
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
