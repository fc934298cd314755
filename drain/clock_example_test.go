package drain

import (
	"fmt"
	"time"
)

// When the phases of a plan are over, from the arithmetic of its clock. The same
// table is in the documentation of Plan.
func ExamplePlan_times() {
	plan := Plan{Budget: 25 * time.Second, Phases: []Phase{
		{Name: "requests", Timeout: 15 * time.Second},
		{Name: "jobs", Reserve: 3 * time.Second},
		{Name: "tasks", Reserve: time.Second},
		{Name: "db", Reserve: time.Second},
	}}
	fmt.Println("                 all quick  requests stuck  all stuck  forced")
	quick := plan.times(0, never)
	request := plan.times(1, never)
	stuck := plan.times(len(plan.Phases), never)
	forced := plan.times(len(plan.Phases), 3*time.Second)
	for i, row := range []string{"Kill of requests", "requests over", "jobs over", "tasks over", "db over"} {
		fmt.Printf("%-16s %9s  %14s  %9s  %6s\n", row, quick[i], request[i], stuck[i], forced[i])
	}
	// Output:
	//                  all quick  requests stuck  all stuck  forced
	// Kill of requests         -            14 s       14 s     3 s
	// requests over        0.5 s            15 s       15 s     4 s
	// jobs over              1 s          15.5 s       18 s     7 s
	// tasks over           1.5 s            16 s       21 s     8 s
	// db over                2 s          16.5 s       25 s     9 s
}

const never = -1

// times returns when the first phase calls Kill and when each phase is over, after a
// signal at 0 s, if the steps of the first phases are stuck and others take 0.5 s. A
// plan is forced during its first phase, if at all.
func (p Plan) times(stuck int, force time.Duration) []string {
	signal := time.Time{}.Add(time.Hour)
	c := clock{p.Phases, p.deadline(signal, signal, time.Time{})}
	now, row := signal, []string{"-"}
	for i := range p.Phases {
		whole, kill := c.span(i, now, force >= 0 && i > 0)
		end := now.Add(min(whole, time.Second/2))
		if i < stuck {
			killAt := now.Add(whole - kill)
			if i == 0 && force >= 0 {
				killAt = signal.Add(force)
			}
			if end = killAt.Add(kill); i == 0 {
				row[0] = inSeconds(killAt.Sub(signal))
			}
		}
		row = append(row, inSeconds(end.Sub(signal)))
		now = end
	}
	return row
}

func inSeconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }
