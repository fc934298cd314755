package leasesim_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/internal/leasesim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever happens to the processes and to their network, no two have the lease by
// the fence, none goes on after another has begun, and none is missing after an
// orderly stop. Package leasejudges gives the same history to a checker of others.
func TestHandOvers(t *testing.T) {
	worlds, each := 20, 500
	if testing.Short() || raceEnabled {
		worlds, each = 4, 100
	}
	for seed := range worlds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := leasesim.Run(uint64(seed), each)
				for _, f := range r.Faults[:min(5, len(r.Faults))] {
					t.Error(f)
				}
				accepted, refused := 0, 0
				for _, w := range r.Writes {
					if w.Accepted {
						accepted++
					} else {
						refused++
					}
				}
				t.Logf("%d hand-overs, %d orderly and calm with a gap of %v at most, %d left by deaf work; %d writes, %d refused",
					r.HandOvers, r.Orderly, r.Gap, r.Deaf, accepted+refused, refused)
				if r.Orderly == 0 || r.Deaf == 0 || refused == 0 {
					t.Error("the simulation is too calm")
				}
			})
		})
	}
}
