package timeline

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// WriteHTML writes a page with a picture of all chains, and their tables. It
// needs no other file and no network.
func (t *Timeline) WriteHTML(w io.Writer) error {
	if err := pageTemplate.Execute(w, t.draw()); err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	return nil
}

// A page is what the template draws. Lengths are CSS pixels.
type page struct {
	*view
	Width, Height px
	WaitsY        px
	Waits         []mark // when sessions had no answer
	Lanes         []*lane
	Ticks         []label
	Bars, Marks   []mark
	Arrows        []arrow
	Words         []word  // on the marks that count most
	Breaks        []label // where a quiet stretch is cut out
	Legend        []eventKind

	times []time.Time // of which something is to be seen
	xs    []px        // where these are
}

// A px is a length, written with one digit.
type px float64

func (x px) String() string { return strconv.FormatFloat(float64(x), 'f', 1, 64) }

type lane struct {
	Name, Sub    string
	Top, Y, Life px
	X, W         px // of its life, as far as it is in the picture
}

type label struct {
	X, Y px
	Text string
}

// A mark is an event's place; a bar has a width.
type mark struct {
	*row
	Color           int
	X, Y, W, H, Top px
	Caption         *label // where there is room for it
}

type arrow struct {
	From, To, Color int
	Path            string
	Inner           bool // of a drain to its own parts, whose bars say so
	Inferred        bool // by time alone
}

// A word stands above a mark.
type word struct {
	label
	Color int
	Bad   bool
}

const (
	laneHeight = 42 // as in the page's style
	axisHeight = 34 // likewise
	margin     = 26
	cutOut     = 46   // of a quiet stretch
	frame      = 1026 // the width that the page has for it; what needs more is scrolled
	colors     = 6    // of chains that cost something; 0 is for the others
	calm       = 3    // the others' where all is well
)

func (t *Timeline) draw() *page {
	p := &page{view: t.view()}
	chains := slices.Concat(p.Costly, p.Quiet)
	var rows []*row
	for _, c := range chains {
		rows = append(rows, c.Rows...)
	}
	p.scale(rows)
	p.WaitsY = axisHeight
	p.waits()
	lanes := p.lanes(rows)
	xs := p.spread(rows)
	where := map[int]mark{}
	taken := map[*process][][2]px{}
	for _, c := range chains {
		if len(p.Costly) == 0 {
			c.Color = calm
		}
		for _, r := range c.Rows {
			m := mark{row: r, Color: c.Color, X: xs[r], Y: lanes[r.Process].Y}
			for i, l := range r.Causes {
				if from, ok := where[p.number[l.event]]; ok {
					inner := m.Kind == kindStep || from.Kind == kindDrain && m.Kind == kindPhase
					p.Arrows = append(p.Arrows, arrow{from.Number, r.Number, c.Color, path(from, m), inner || i > 0 && l.event == nil, !l.Evidence})
				}
			}
			where[r.Number] = m
			p.place(m)
		}
	}
	for _, first := range []bool{true, false} { // roots and harm before the rest
		for _, c := range p.Costly {
			for _, r := range c.Rows {
				if first == (r.Bad || r.From == 0) {
					p.say(where[r.Number], taken)
				}
			}
		}
	}
	for _, kind := range kinds {
		if slices.ContainsFunc(rows, func(r *row) bool { return r.Kind == kind }) {
			p.Legend = append(p.Legend, kind)
		}
	}
	return p
}

// scale decides where times are in the picture: it is linear, but a quiet stretch
// is cut out, and marked.
func (p *page) scale(rows []*row) {
	for _, r := range rows {
		p.times = append(p.times, r.Time)
		if !r.Until.IsZero() {
			p.times = append(p.times, r.Until)
		}
	}
	for _, c := range p.Costly {
		for _, w := range c.waits {
			p.times = append(p.times, w[0], w[1])
		}
	}
	slices.SortFunc(p.times, time.Time.Compare)
	p.times = slices.CompactFunc(p.times, time.Time.Equal)
	p.xs = []px{margin}
	p.Width = frame
	var gaps []float64
	for i := 1; i < len(p.times); i++ {
		gaps = append(gaps, p.times[i].Sub(p.times[i-1]).Seconds())
	}
	longest := quiet(gaps)
	sum, cuts := 1e-9, 0
	for _, g := range gaps {
		if g > longest {
			cuts++
		} else {
			sum += g
		}
	}
	each := min(3, 300/float64(len(gaps)+1)) // so that no two moments are one
	room := max(300, frame-2*margin-60-float64(cuts)*cutOut-each*float64(len(gaps)))
	for i, g := range gaps {
		width := px(each + g/sum*room)
		if g > longest {
			width = cutOut
			p.Breaks = append(p.Breaks, label{X: p.xs[i] + cutOut/2, Text: human(p.times[i+1].Sub(p.times[i]))})
		}
		p.xs = append(p.xs, p.xs[i]+width)
	}
	p.Width = max(p.xs[len(p.xs)-1]+margin+60, frame)
}

// quiet returns the longest gap that is shown at its length. Those above it are
// cut out: six at most, each more than four times as long as any that remains.
func quiet(gaps []float64) float64 {
	sorted := slices.Sorted(slices.Values(gaps))
	for i := len(sorted) - 1; i >= 1 && i >= len(sorted)-6; i-- {
		if sorted[i] > 4*sorted[i-1] && sorted[i-1] > 0 {
			return sorted[i-1]
		}
	}
	return math.Inf(1)
}

// say writes a word above a mark that is a root or did harm, or where a process
// began again, if there is room for it.
func (p *page) say(m mark, taken map[*process][][2]px) {
	text := m.word()
	x, end := m.X+11, m.X+17+px(6.4*float64(len(text)))
	overlaps := func(t [2]px) bool { return x < t[1] && t[0] < end }
	if text == "" || end > p.Width || slices.ContainsFunc(taken[m.Process], overlaps) {
		return
	}
	taken[m.Process] = append(taken[m.Process], [2]px{x, end})
	p.Words = append(p.Words, word{label{x, m.Y - 7, text}, m.Color, m.Bad})
}

// word says what an event is, in a word or two.
func (r *row) word() string {
	switch {
	case r.Kind == kindFailure:
		if strings.Contains(r.Text, "crash") || strings.Contains(r.Text, "panic") {
			return "crashed"
		}
		return "failed"
	case r.Kind == kindCut:
		return "cut"
	case r.Kind == kindExit && r.Bad && r.signal != "":
		return "killed, " + r.signal
	case r.Kind == kindExit && r.Bad:
		return "exited badly"
	case r.Kind == kindStart:
		return "starts again"
	case r.Kind == kindSignal:
		return r.signal
	case r.Kind == kindOrder || r.From == 0:
		if r.signal != "" {
			return "sends " + r.signal
		}
		return strings.TrimSuffix(short(r.Text, 24), "…")
	}
	return ""
}

// at returns where a time is.
func (p *page) at(t time.Time) px {
	i, found := slices.BinarySearchFunc(p.times, t, time.Time.Compare)
	switch {
	case found:
		return p.xs[i]
	case i == 0:
		return 0
	case i == len(p.times):
		return p.xs[i-1] + margin
	}
	part := t.Sub(p.times[i-1]).Seconds() / p.times[i].Sub(p.times[i-1]).Seconds()
	return p.xs[i-1] + px(part)*(p.xs[i]-p.xs[i-1])
}

// lanes gives each process that has events one, in the order of their starts,
// those of a name together.
func (p *page) lanes(rows []*row) map[*process]*lane {
	lanes := map[*process]*lane{}
	for _, r := range rows {
		lanes[r.Process] = new(lane)
	}
	all := slices.SortedFunc(maps.Keys(lanes), func(a, b *process) int { return cmp.Or(a.first.Compare(b.first), cmp.Compare(a.Label(), b.Label())) })
	rank := map[string]int{}
	for i, pr := range slices.Backward(all) {
		rank[pr.Name] = i
	}
	gives := map[*process]int{} // those who give orders come first
	for _, r := range rows {
		if r.Kind == kindOrder {
			gives[r.Process] = min(gives[r.Process], -1)
		}
		if r.Kind == kindOrder && r.From == 0 {
			gives[r.Process] = -2
		}
	}
	slices.SortStableFunc(all, func(a, b *process) int { return cmp.Or(gives[a]-gives[b], rank[a.Name]-rank[b.Name]) })
	for i, pr := range all {
		top := p.Height + px(i*laneHeight)
		*lanes[pr] = lane{
			Name: pr.Name, Sub: strings.TrimSpace(strings.TrimPrefix(pr.Label(), pr.Name)), Top: top, Y: top + laneHeight/2,
			Life: top + laneHeight/2 - 1.5, X: p.at(pr.first), W: p.at(pr.last) - p.at(pr.first),
		}
		p.Lanes = append(p.Lanes, lanes[pr])
	}
	p.Height += px(len(all) * laneHeight)
	return lanes
}

// spread returns where events are: at their times, or if that leaves no room
// for a mark, to the right of the process's one before. It names as many moments
// as there is room for.
func (p *page) spread(rows []*row) map[*row]px {
	xs, free, next := map[*row]px{}, map[*process]px{}, px(0)
	for _, r := range slices.SortedStableFunc(slices.Values(rows), func(a, b *row) int { return a.Time.Compare(b.Time) }) {
		x := p.at(r.Time)
		if room := px(7*len(r.Clock) + 8); x >= next && x+room < p.Width {
			p.Ticks = append(p.Ticks, label{X: x, Text: r.Clock})
			next = x + room + 22
		}
		if r.Kind != kindDrain && r.Kind != kindPhase && r.Kind != kindStep {
			x = max(x, free[r.Process])
			free[r.Process] = x + 12
		}
		xs[r] = x
	}
	return xs
}

// place makes an event a bar or a mark. What lasts is a bar, and so is all of a
// drain, also if its end is not in the logs.
func (p *page) place(m mark) {
	m.H = map[eventKind]px{kindDrain: 30, kindPhase: 20, kindWait: 14}[m.Kind]
	if m.H == 0 || m.Kind == kindWait && m.Until.IsZero() {
		p.Marks = append(p.Marks, m)
		return
	}
	m.W, m.Top = 5, m.Y-m.H/2
	if !m.Until.IsZero() {
		m.W = max(p.at(m.Until)-m.X, 5)
	}
	if name := strings.TrimPrefix(m.Text, "phase "); m.Kind == kindPhase && px(7*len(name)+56) < m.W {
		m.Caption = &label{m.X + 12, m.Y + 4, name}
	}
	p.Bars = append(p.Bars, m)
}

// waits draws when sessions had no answer, above the processes.
func (p *page) waits() {
	p.Height = axisHeight
	for _, c := range p.Costly {
		for _, s := range c.waits {
			m := mark{Color: c.Color, X: p.at(s[0]), Y: p.WaitsY + laneHeight/2 + 5}
			m.W = max(p.at(s[1])-m.X, 3)
			if text := human(s[1].Sub(s[0])); px(7*len(text)) < m.W {
				m.Caption = &label{m.X + 1, m.Y - 6, text}
			}
			p.Waits = append(p.Waits, m)
			p.Height = axisHeight + laneHeight
		}
	}
}

// path is a curve from one mark to another, above those that lie between.
func path(a, b mark) string {
	if a.Y == b.Y {
		lift := min(16, 7+(b.X-a.X)/24)
		return fmt.Sprintf("M%v %vQ%v %v %v %v", a.X, a.Y-9, (a.X+b.X)/2, a.Y-9-lift, b.X, b.Y-9)
	}
	side := px(math.Copysign(9, float64(b.Y-a.Y)))
	bend := (b.Y - a.Y - 2*side) / 2
	return fmt.Sprintf("M%v %vC%v %v %v %v %v %v", a.X, a.Y+side, a.X, a.Y+side+bend, b.X, b.Y-side-bend, b.X, b.Y-side)
}
