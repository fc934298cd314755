package stoptest

import (
	"reflect"
	"strings"
	"testing"
)

// The first lives try each moment, and a seed always gives the same one.
func TestMoments(t *testing.T) {
	p := Program{Load: []Load{Get("/"), Events("/e", ""), Silent()}, Signals: usualSignals}
	first := p.moments()
	names := map[string]bool{}
	for seed := range uint64(len(first)) {
		m := p.moment(seed)
		names[m.name(p.Load)] = true
		if m.delay < 0 || m.delay >= 1 {
			t.Errorf("seed %d: delay %v", seed, m.delay)
		}
		if m.delay = 0; !reflect.DeepEqual(m, first[seed]) {
			t.Errorf("seed %d is %v, want %v", seed, m, first[seed])
		}
	}
	if len(names) != len(first) {
		t.Errorf("%d moments have %d names", len(first), len(names))
	}
	if !canSignal {
		return
	}
	for _, want := range []string{
		"SIGTERM in the middle of GET /", "SIGTERM in the middle of EVENTS /e", "SIGTERM under load", "SIGINT under load",
		"SIGTERM twice, 400ms apart, under load", "SIGTERM twice, 20ms apart, under load", "SIGTERM three times, 400ms apart, under load",
		"SIGKILL under load", "SIGTERM while idle", "SIGTERM during the start", "SIGTERM before the first request",
		"start while the address is taken", "parent killed, then SIGTERM under load", "stdin closed, then SIGTERM under load",
		"stdout closed, then SIGTERM under load",
	} {
		if !names[want] {
			t.Errorf("no life has the moment %q", want)
		}
	}
	interrupted := false
	for seed := range uint64(1000) {
		m := p.moment(seed)
		if again := p.moment(seed); !reflect.DeepEqual(m, again) {
			t.Fatalf("seed %d is %v, and then %v", seed, m, again)
		}
		interrupted = interrupted || strings.HasPrefix(m.name(p.Load), "SIGINT in the middle of")
	}
	if !interrupted {
		t.Error("no later life varies the signal")
	}
}
