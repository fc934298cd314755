package drain_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// A sight is when a plan first sees that it is forced: at a phase's begin, or
// later in it; the phase after the last one stands for the plan's end. If the
// force falls together with something else, there is more than one.
type sight struct {
	phase int
	later bool
}

var never = sight{phase: -1}

// A fate is what must become of a phase. Its times count from the plan's begin.
type fate struct {
	begin, soft, hard, end time.Duration // soft is the end of the Stops' context
	calm                   bool          // a force at its end changes nothing that has been
	steps                  []stepFate
}

type stepFate struct {
	outcome         drain.Outcome
	took            time.Duration
	stopped, killed bool
	cause           error // which the error matches, if any
	either          bool  // it may be Abandoned as well: Kill was given no time, and took none
}

// deadline returns when the plan is over at the latest: the budget after the
// signal. A late Run gets the reserves, and a tenth of the budget, 1 s at most. An
// inner plan ends before the outer step's Stop.
func (tr *trial) deadline() time.Duration {
	if tr.ago < 0 {
		return tr.within(tr.budget)
	}
	least := min(tr.budget/10, time.Second)
	for _, p := range tr.plan.Phases {
		least += p.Reserve
	}
	return tr.within(max(tr.budget-tr.ago, min(least, tr.budget)))
}

func (tr *trial) within(d time.Duration) time.Duration {
	if tr.outer > 0 {
		d = min(d, tr.outer-min(tr.outer/10, 100*ms))
	}
	return d
}

// oracle says what must become of each phase.
func (tr *trial) oracle(seen sight) []fate {
	var fates []fate
	at := time.Duration(0)
	for i, p := range tr.plan.Phases {
		last, sharers := tr.deadline(), 0
		for j, q := range tr.plan.Phases {
			if j > i {
				last -= q.Reserve
			}
			if j >= i && q.Timeout == 0 {
				sharers++
			}
		}
		forced := seen != never && (i > seen.phase || i == seen.phase && !seen.later)
		f := fate{begin: at}
		switch {
		case forced && p.Reserve == 0:
			f.hard = at + max(min((last-at)/10, time.Second), 0)
			if p.Timeout > 0 {
				f.hard = min(f.hard, at+p.Timeout)
			}
		case forced:
			f.hard = min(at+p.Reserve, last)
		case p.Timeout > 0:
			f.hard = min(at+p.Timeout, last)
		default:
			f.hard = min(at+max(p.Reserve, (last-at)/time.Duration(sharers)), last)
		}
		f.hard = max(f.hard, at)
		f.soft = f.hard - min((f.hard-at)/10, time.Second)
		forKill := f.hard == at || forced && p.Reserve == 0
		if forKill {
			f.soft = at
		}
		cause := context.DeadlineExceeded
		if forKill && forced {
			cause = context.Canceled
		}
		if i == seen.phase && seen.later && tr.force <= f.soft && !forKill {
			if cause = context.Canceled; tr.force == f.soft {
				cause = nil // either
			}
			f.hard = min(f.hard, tr.force+f.hard-f.soft)
			f.soft = tr.force
		}
		for _, l := range tr.lives[i] {
			f.steps = append(f.steps, l.fate(f.soft-at, f.hard-at, !forKill, cause))
		}
		f.end, f.calm = at, true
		if i > 0 {
			f.calm = fates[i-1].calm // what if it takes no time
		}
		for _, s := range f.steps {
			f.end = max(f.end, at+s.took)
		}
		f.calm = f.calm || f.end > at
		for j, s := range f.steps {
			l := tr.lives[i][j]
			if at+s.took == f.end && f.end < f.soft && (s.outcome != drain.OK || l.obeys && l.kill != nil) {
				f.calm = false
			}
		}
		at = f.end
		fates = append(fates, f)
	}
	return fates
}

// fate says what must become of a step whose phase begins at 0.
func (l *life) fate(soft, hard time.Duration, stop bool, cause error) stepFate {
	f := stepFate{stopped: stop, killed: l.kill != nil, cause: cause}
	end, ends, over := l.need, l.ends, time.Duration(0)
	obeyed := l.obeys && l.need >= soft
	if obeyed {
		end, ends = soft+l.lag, l.bow
	}
	if !stop {
		end, ends = 0, fine
	} else if end < soft {
		f.killed = false
	}
	killEnds := fine
	if f.killed {
		over, killEnds = soft+l.kill.need, l.kill.ends
		if l.kill.frees && !l.obeys && over < end {
			end, ends = over, fine
		}
	}
	f.took = max(end, over)
	f.either = hard == 0 && f.took == 0 && f.killed
	if ends != fine && !(obeyed && ends == fails) || killEnds != fine {
		f.cause = nil
	}
	switch {
	case f.took >= hard && hard > 0 || f.took > hard:
		f.outcome, f.took, f.cause = drain.Abandoned, hard, nil
	case ends == panics || killEnds == panics:
		f.outcome = drain.Panicked
	case killEnds == exits:
		f.outcome = drain.Failed
	case !stop:
		f.outcome = drain.Skipped
	case f.killed:
		f.outcome = drain.Killed
	case ends == fine:
		f.outcome, f.cause = drain.OK, nil
	case end >= soft:
		f.outcome = drain.TimedOut
	default:
		f.outcome = drain.Failed
	}
	return f
}

// check compares what was seen with what is promised of any plan, and with the
// oracle if the order is known from the times.
func (tr *trial) check(t *testing.T) {
	began := tr.log.times("phase began")
	if len(began) != len(tr.plan.Phases) || len(tr.log.times("drain forced")) > 1 {
		t.Fatalf("%d of %d phases began", len(began), len(tr.plan.Phases))
	}
	if d := tr.deadline(); tr.report.Deadline.Sub(tr.begin) != d || tr.report.Took > d {
		t.Errorf("the report's deadline is %v, want %v; took %v", tr.report.Deadline.Sub(tr.begin), d, tr.report.Took)
	}
	results, failed := tr.report.Results, 0
	scarce := tr.outer > 0 // an outer drain may leave less than the reserves
	for i, p := range tr.plan.Phases {
		begin, end := began[i], tr.begin.Add(tr.report.Took)
		if i+1 < len(began) {
			end = began[i+1]
		}
		came := tr.begin.Add(tr.force)
		spoiled := tr.force >= 0 && !tr.before && !came.Before(begin) && !came.After(end)
		if p.Timeout > 0 && end.Sub(begin) > p.Timeout {
			t.Errorf("%s took %v", p.Name, end.Sub(begin))
		}
		for j, l := range tr.lives[i] {
			if len(results) == 0 {
				t.Fatalf("%d results", len(tr.report.Results))
			}
			r := results[0]
			results = results[1:]
			if r.Phase != p.Name || r.Step != p.Steps[j].Name || (r.Err == nil) != (r.Outcome == drain.OK) {
				t.Errorf("a result in the place of %s: %v", p.Steps[j].Name, r)
			}
			if r.Err != nil {
				failed++
			}
			if len(l.stopped) > 1 || len(l.killed) > 1 || r.Outcome == drain.Skipped && len(l.stopped) > 0 || r.Outcome == drain.Killed && len(l.killed) == 0 {
				t.Errorf("%s: Stop called %v, Kill %v", r.Outcome, l.stopped, l.killed)
			}
			for _, call := range append(l.stopped, l.killed...) {
				if call.Before(begin) || call.After(end) {
					t.Errorf("%s %s called at %v, outside of its phase: %v to %v", p.Name, r.Step, call, begin, end)
				}
			}
			if r.Outcome == drain.Abandoned && end.Sub(begin) < p.Reserve && !spoiled && !scarce {
				t.Errorf("%s got %v, with a reserve of %v", p.Name, end.Sub(begin), p.Reserve)
			}
			if l.ctx != nil {
				if d, ok := l.ctx.Deadline(); !ok || d.Sub(begin) < p.Reserve*9/10 && !scarce {
					t.Errorf("%s %s: Stop has %v, with a reserve of %v", p.Name, r.Step, d.Sub(begin), p.Reserve)
				}
			}
			for msg, want := range map[string]bool{"step ended": true, "abandoned step returned": r.Outcome == drain.Abandoned} {
				if n := len(tr.log.times(msg, p.Name, r.Step)); n > 1 || n == 1 != want {
					t.Errorf("%s %s %s: logged %q %d times", p.Name, r.Step, r.Outcome, msg, n)
				}
			}
		}
	}
	var all interface{ Unwrap() []error }
	if errors.As(tr.err, &all); len(results) != 0 || failed > 0 && (all == nil || len(all.Unwrap()) != failed) || failed == 0 && tr.err != nil {
		t.Errorf("%d failed, the error is %v; %d results too many", failed, tr.err, len(results))
	}
	if tr.tiny {
		return
	}
	var wrong []string
	for _, seen := range tr.sights() {
		diff := tr.differs(seen, began)
		if diff == "" {
			return
		}
		wrong = append(wrong, fmt.Sprintf("with the force seen %v: %s", seen, diff))
	}
	t.Errorf("against the oracle:\n%s", strings.Join(wrong, "\n"))
}

// sights lists when the plan may have seen the force.
func (tr *trial) sights() (all []sight) {
	calm := tr.oracle(never)
	if tr.force < 0 || !tr.before && tr.force >= calm[len(calm)-1].end {
		all = append(all, never)
	}
	if at := len(calm); !tr.before && tr.force == calm[at-1].end {
		all = append(all, sight{at, false})
	}
	for i := range calm {
		if f := tr.oracle(sight{i, false})[i]; tr.force == f.begin && (!tr.before || i == 0) {
			all = append(all, sight{i, false})
		}
		if f := tr.oracle(sight{i, true})[i]; !tr.before && f.begin <= tr.force && tr.force <= f.end {
			all = append(all, sight{i, true})
		}
	}
	return all
}

// differs says what the plan did otherwise than it should.
func (tr *trial) differs(seen sight, began []time.Time) string {
	if tr.report.Forced != (seen != never) {
		return fmt.Sprint("forced ", tr.report.Forced)
	}
	results := tr.report.Results
	for i, f := range tr.oracle(seen) {
		if got := began[i].Sub(tr.begin); got != f.begin {
			return fmt.Sprintf("phase %d began at %v, want %v", i, got, f.begin)
		}
		if i == len(began)-1 && tr.report.Took != f.end {
			return fmt.Sprintf("took %v, want %v", tr.report.Took, f.end)
		}
		for j, want := range f.steps {
			l, got := tr.lives[i][j], results[0]
			results = results[1:]
			if want.either && got.Outcome == drain.Abandoned {
				want.outcome, want.cause = drain.Abandoned, nil
			}
			if got.Outcome != want.outcome || got.Took != want.took || want.cause != nil && !errors.Is(got.Err, want.cause) {
				return fmt.Sprintf("phase %d, step %d: %v, want %v", i, j, got, want)
			}
			var stopped, killed []time.Duration
			if want.stopped {
				stopped = append(stopped, f.begin)
			}
			if want.killed {
				killed = append(killed, f.soft)
			}
			if s, k := tr.since(l.stopped), tr.since(l.killed); !slices.Equal(s, stopped) || !slices.Equal(k, killed) {
				return fmt.Sprintf("phase %d, step %d: Stop called %v, Kill %v; want %v, %v", i, j, s, k, stopped, killed)
			}
		}
	}
	return ""
}

func (tr *trial) since(ts []time.Time) (ds []time.Duration) {
	for _, at := range ts {
		ds = append(ds, at.Sub(tr.begin))
	}
	return ds
}

func (tr *trial) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "budget %v, signal %v ago, force after %v, %v, outer until %v\n", tr.budget, tr.ago, tr.force, tr.before, tr.outer)
	for i, p := range tr.plan.Phases {
		fmt.Fprintf(&b, "%s: timeout %v, reserve %v\n", p.Name, p.Timeout, p.Reserve)
		for j, l := range tr.lives[i] {
			fmt.Fprintf(&b, "\tstep %d: needs %v, ends %v, obeys %v, lag %v, bow %v, kill %+v\n", j, l.need, l.ends, l.obeys, l.lag, l.bow, l.kill)
		}
	}
	fmt.Fprintf(&b, "%v", tr.report)
	return b.String()
}

// A recorder keeps what a plan logs.
type recorder struct {
	mu  sync.Mutex
	all []slog.Record
}

func (*recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r *recorder) WithGroup(string) slog.Handler          { return r }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, record)
	return nil
}

// times returns when msg was logged, for a phase and a step if they are given.
func (r *recorder) times(msg string, of ...string) (ts []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range r.all {
		var is []string
		record.Attrs(func(a slog.Attr) bool {
			if a.Key == "phase" || a.Key == "step" {
				is = append(is, a.Value.String())
			}
			return true
		})
		if record.Message == msg && (len(of) == 0 || slices.Equal(is, of)) {
			ts = append(ts, record.Time)
		}
	}
	return ts
}
