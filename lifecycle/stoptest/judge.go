package stoptest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A seen is what a life showed of a promise.
type seen struct {
	promise           Promise
	yes, no, unproven int
	saw               string // what broke it
	timed             bool   // time alone broke it, so it must be seen twice
}

// judge returns what the life showed. Whether the next one starts shows later.
func (l *life) judge() (list []seen) {
	add := func(s seen) { list = append(list, s) }
	one := func(p Promise, kept bool, timed bool, saw string) {
		s := seen{promise: p, timed: timed}
		if kept {
			s.yes = 1
		} else {
			s.no, s.saw = 1, saw
		}
		add(s)
	}
	if l.program.Acknowledged != nil && l.Number > 0 && !l.ready.IsZero() {
		one(WorkThere, l.missing == nil, errors.Is(l.missing, context.DeadlineExceeded), fmt.Sprint(l.missing))
	}
	if l.moment.when == taken {
		return append(list, l.judgeTaken()...)
	}
	if l.moment.holds() {
		return append(list, l.judgeForced()...)
	}
	if l.moment.signal == os.Kill {
		return list
	}
	took := l.proc.endedAt.Sub(l.stopBegan())
	one(InTime, !l.overdue, true, fmt.Sprintf("it had not exited %v after %s", l.program.Budget, signalName(l.moment.signal)))
	if !l.overdue {
		one(NothingLeft, len(l.left) == 0, true, strings.Join(l.left, ", "))
	}
	if !l.moment.orderly() {
		return list // the second signal may have been a doubled one, or may have forced
	}
	list = append(list, l.judgeCalls()...)
	add(l.watch.order)
	if l.overdue || l.moment.event == orphaned {
		return list // the status is not the program's, or not known
	}
	return append(append(list, l.judgeStatus(took)...), l.judgeReason(l.stopBegan())...)
}

// judgeCalls counts how the calls ended.
func (l *life) judgeCalls() []seen {
	// Without its end in time, what is cut by the kill is cut by time alone.
	work, streams := seen{promise: WorkAnswered, timed: l.overdue}, seen{promise: StreamsEnded, timed: l.overdue}
	refusals := seen{promise: RefusedCleanly, timed: true}
	for _, r := range l.traffic.records() {
		load := l.program.Load[r.load]
		late := r.began.After(l.stopBegan())
		s := &work
		switch {
		case load.Silent:
			continue
		case late && (r.end == refused || r.end == unproven):
			s = &refusals
		case load.Stream:
			s = &streams
		}
		switch {
		case r.end == answered, r.end == refused:
			s.yes++
		case r.end == lost, late && r.ended.Sub(r.began) > time.Second:
			s.no++
			s.saw = cmp.Or(s.saw, fmt.Sprintf("%s, from %v to %v after the signal: %s", load.Name, l.since(r.began), l.since(r.ended), short(r.err)))
		default:
			s.unproven++
		}
	}
	return []seen{work, streams, refusals}
}

func (l *life) since(t time.Time) time.Duration {
	return t.Sub(l.stopBegan()).Round(time.Millisecond)
}

// judgeForced judges a life that got several signals.
func (l *life) judgeForced() []seen {
	n := l.moment.times
	if len(l.sent) < n {
		return nil // it had exited before
	}
	s := seen{promise: SecondForces, timed: true}
	if n == 3 {
		s.promise = ThirdKills
	}
	last, bound := l.sent[n-1], max(time.Second, l.program.Budget/5)
	switch took := l.proc.endedAt.Sub(last); {
	case l.overdue || took > bound:
		s.no, s.saw = 1, fmt.Sprintf("it ran on for %v after signal number %d; %v are allowed", took.Round(time.Millisecond), n, bound)
	case l.held > 0 || n == 3:
		s.yes = 1
	default:
		s.unproven = 1 // nothing held up the stop
	}
	if l.overdue {
		return []seen{s}
	}
	return append([]seen{s}, l.judgeReason(l.stopBegan())...)
}

// judgeTaken judges a life that could not listen.
func (l *life) judgeTaken() []seen {
	if l.overdue {
		return nil // it waits for its address, or shares it
	}
	code, by := l.proc.status()
	s := seen{promise: ExitStatus}
	if code == 0 {
		s.no, s.saw = 1, "exit status 0, though its address was taken"
	} else if by < 0 {
		s.yes = 1
	}
	return append([]seen{s}, l.judgeReason(l.began)...)
}

// judgeReason judges whether a program that failed had said why.
func (l *life) judgeReason(since time.Time) []seen {
	code, _ := l.proc.status()
	if code <= 0 {
		return nil
	}
	s := seen{promise: SaidWhy}
	if len(l.proc.said(since)) > 0 {
		s.yes = 1
	} else {
		s.no, s.saw = 1, fmt.Sprintf("exit status %d, and no line", code)
	}
	return []seen{s}
}

// judgeStatus judges the exit status after an orderly stop.
func (l *life) judgeStatus(took time.Duration) []seen {
	asked := number(l.moment.signal)
	code, by := l.proc.status()
	fine := code == 0 || code == 128+asked || int(by) == asked
	cut, doubtful := 0, 0
	for _, r := range l.traffic.records() {
		switch {
		case l.program.Load[r.load].Silent:
			doubtful++ // the program may call the end of a silent connection a failure
		case errors.Is(r.err, errNoGoodbye): // the program ended it in order
		case r.end == lost:
			cut++
		case r.end == unproven:
			doubtful++
		}
	}
	if l.watch.cut {
		doubtful++
	}
	s := seen{promise: ExitStatus}
	crashed := slices.ContainsFunc(l.proc.said(l.began), func(l line) bool {
		return strings.HasPrefix(l.text, "panic: ") || strings.HasPrefix(l.text, "fatal error: ")
	})
	switch {
	case code == 0 && cut > 0:
		s.no, s.saw = 1, fmt.Sprintf("exit status 0 in spite of lost calls: %d", cut)
	case code == 0 && crashed:
		s.no, s.saw = 1, "exit status 0, though its output has a panic or a fatal error"
	case !fine && cut == 0 && doubtful > 0:
		s.unproven = 1 // it may have lost what we cannot see
	case len(l.sent) == 0: // an event ended it, and no signal
		return nil
	case !fine && cut == 0:
		s.no, s.saw = 1, fmt.Sprintf("%s %v after the signal, though nothing was lost", l.statusText(), took.Round(time.Millisecond))
	default:
		s.yes = 1
	}
	return []seen{s}
}

func (l *life) statusText() string {
	code, by := l.proc.status()
	switch {
	case l.moment.event == orphaned:
		return "exit status unknown"
	case by >= 0:
		return "killed by " + signalName(by)
	}
	return fmt.Sprintf("exit status %d", code)
}
