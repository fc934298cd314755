package drain

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A goroutine profile that is not there by the deadline is given up, once for all
// steps. The lines that wait for it are written then, without a stack.
func TestStacksGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		begin := time.Now()
		r := run{ctx: t.Context(), loud: log, log: log}
		late := &stacks{done: make(chan struct{})}
		results := make([]Result, 3)
		for i := range results {
			results[i] = Result{Phase: "p", Step: "s", Outcome: Abandoned, Err: errAbandoned}
			r.abandoned = append(r.abandoned, abandoned{late, i, "s", begin.Add(time.Second)})
		}
		r.logResult(&results[0], r.abandoned[0])
		r.addStacks(results)
		if d := time.Since(begin); d != time.Second {
			t.Errorf("waited for %v", d)
		}
		if got := out.String(); strings.Count(got, `stack=""`) != 1 || strings.Count(got, `"stacks missing" phase=p error="`+errNoTime.Error()+`"`) != 1 {
			t.Error(got)
		}
		late.byStep = map[string][]byte{"s": []byte("here\n")}
		close(late.done)
		if stack, err := late.of("s", begin); stack != "here\n" || err != nil { // it came, though late
			t.Errorf("%q, %v", stack, err)
		}
	})
}

// No profile begins after the deadline.
func TestStacksTooLate(t *testing.T) {
	r := run{clock: clock{deadline: time.Now().Add(-time.Nanosecond)}}
	if _, err := r.look("/x").of("s", time.Now().Add(time.Minute)); !errors.Is(err, errNoTime) {
		t.Error(err)
	}
}
