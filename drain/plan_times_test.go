package drain_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// The table of times in Plan's documentation is what plans do, and what the example
// prints.
func TestPlanTimesTable(t *testing.T) {
	rows := make([][]string, 5)
	add := func(stuck int, force time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			killed := make([]string, 4)
			plan := drain.Plan{Budget: 25 * s, Phases: []drain.Phase{
				{Name: "requests", Timeout: 15 * s}, {Name: "jobs", Reserve: 3 * s}, {Name: "tasks", Reserve: s}, {Name: "db", Reserve: s},
			}}
			begin := time.Now()
			in := func(at time.Time) string { return fmt.Sprintf("%g s", at.Sub(begin).Seconds()) }
			for i := range plan.Phases {
				killed[i] = "-"
				one := drain.Step{Name: "s", Stop: takes(s / 2)}
				if i < stuck {
					one.Stop, one.Kill = deaf(time.Hour), func() { killed[i] = in(time.Now()) }
				}
				plan.Phases[i].Steps = []drain.Step{one}
			}
			ctx, second := asked(begin)
			if force >= 0 {
				time.AfterFunc(force, second)
			}
			report, _ := plan.Run(ctx)
			rows[0] = append(rows[0], killed[0])
			over := begin
			for i, r := range report.Results {
				over = over.Add(r.Took)
				rows[i+1] = append(rows[i+1], in(over))
			}
			time.Sleep(2 * time.Hour) // until the stuck ones have returned
		})
	}
	add(0, -1)
	add(1, -1)
	add(4, -1)
	add(4, 3*s)
	want := "                 all quick  requests stuck  all stuck  forced\n"
	for i, name := range []string{"Kill of requests", "requests over", "jobs over", "tasks over", "db over"} {
		r := rows[i]
		want += fmt.Sprintf("%-16s %9s  %14s  %9s  %6s\n", name, r[0], r[1], r[2], r[3])
	}
	for file, indent := range map[string]string{"plan.go": "//\t", "clock_example_test.go": "\t// "} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(source), regexp.MustCompile(`(?m)^`).ReplaceAllString(strings.TrimSuffix(want, "\n"), indent)) {
			t.Errorf("%s does not have the table\n%s", file, want)
		}
	}
}
