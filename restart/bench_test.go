package restart

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// BenchmarkDecision compares what Begin decides over a full ring with the
// decoding of that ring, which comes before it.
func BenchmarkDecision(b *testing.B) {
	ring := full()
	h, _, err := read(bytes.NewReader(ring))
	if err != nil {
		b.Fatal(err)
	}
	p, now := Policy{}.filled(), machine().now()
	decide := func() {
		start, end, seen := h.last(now.boot)
		p.owes(p.settle(start, end, seen, now, nil), now)
	}
	var ratios []float64
	for b.Loop() {
		const n = 100
		begin := time.Now()
		for range n {
			read(bytes.NewReader(ring))
		}
		decoding := time.Since(begin)
		begin = time.Now()
		for range n {
			read(bytes.NewReader(ring))
			decide()
		}
		ratios = append(ratios, float64(time.Since(begin))/float64(decoding))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(testing.AllocsPerRun(100, decide), "allocs/decision")
}
