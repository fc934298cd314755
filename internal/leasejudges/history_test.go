package leasejudges

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/internal/leasesim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fence is the state of the store that a lease guards.
type fence struct {
	term    uint64
	process int
	n       int // accepted writes of the term
}

// fenced is the store as the holders of a lease may see it: the writes of a term are
// those of one process, in its order, and none is accepted after one of a later term.
var fenced = porcupine.Model{
	Init: func() any { return fence{} },
	Step: func(state, input, output any) (bool, any) {
		s, w := state.(fence), input.(leasesim.Write)
		switch {
		case !output.(bool):
			return w.Term < s.term, s
		case w.Term > s.term:
			return w.N == 1, fence{w.Term, w.Process, 1}
		}
		return w.Term == s.term && w.Process == s.process && w.N == s.n+1, fence{s.term, s.process, w.N}
	},
	Equal: func(a, b any) bool { return a == b },
}

func operations(writes []leasesim.Write) (ops []porcupine.Operation) {
	clients := map[int]int{}
	for _, w := range writes {
		if _, ok := clients[w.Process]; !ok {
			clients[w.Process] = len(clients)
		}
		ops = append(ops, porcupine.Operation{ClientId: clients[w.Process], Input: w, Output: w.Accepted, Call: int64(w.Call), Return: int64(w.Return)})
	}
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return ops
}

// The history of the fenced writes of 10,000 hand-overs is linearizable.
func TestHistory(t *testing.T) {
	worlds, each := 20, 500
	if testing.Short() || raceEnabled {
		worlds, each = 4, 100
	}
	total := 0
	for seed := range worlds {
		var r leasesim.Result
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { r = leasesim.Run(uint64(1000+seed), each) })
		})
		if result := porcupine.CheckOperationsTimeout(fenced, operations(r.Writes), time.Minute); result != porcupine.Ok {
			t.Errorf("seed %d: %s", seed, result)
		}
		total += len(r.Writes)
	}
	t.Logf("%d hand-overs, %d writes", worlds*each, total)
}

// The checker finds a write of another process within a term, and one that a later
// term should have fenced.
func TestHistoryBroken(t *testing.T) {
	var good []leasesim.Write
	for i := range 10 {
		at := time.Duration(i) * time.Second
		good = append(good, leasesim.Write{Process: i / 5, Term: uint64(1 + i/5), N: i%5 + 1, Accepted: true, Call: at, Return: at + 1})
	}
	for want, change := range map[porcupine.CheckResult]func(w []leasesim.Write){
		porcupine.Ok:      func(w []leasesim.Write) {},
		porcupine.Illegal: func(w []leasesim.Write) { w[2].Process = 7 },
	} {
		w := slices.Clone(good)
		change(w)
		if got := porcupine.CheckOperationsTimeout(fenced, operations(w), time.Minute); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	w := slices.Clone(good)
	w[4].Call, w[4].Return = w[6].Call+10, w[6].Return+10
	if got := porcupine.CheckOperationsTimeout(fenced, operations(w), time.Minute); got != porcupine.Illegal {
		t.Errorf("got %s", got)
	}
}
