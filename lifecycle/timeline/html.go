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
	Legend        []Kind

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
}

const (
	laneHeight = 46 // as in the page's style
	axisHeight = 44 // likewise
	margin     = 26
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
	lanes := p.lanes(rows)
	xs := p.spread(rows)
	where := map[int]mark{}
	for _, c := range chains {
		if len(p.Costly) == 0 {
			c.Color = calm
		}
		for _, r := range c.Rows {
			m := mark{row: r, Color: c.Color, X: xs[r], Y: lanes[r.Process].Y}
			if from, ok := where[r.From]; ok {
				inner := m.Kind == Step || from.Kind == Drain && m.Kind == Phase
				p.Arrows = append(p.Arrows, arrow{r.From, r.Number, c.Color, path(from, m), inner})
			}
			where[r.Number] = m
			p.place(m)
		}
	}
	p.waits()
	for _, kind := range kinds {
		if slices.ContainsFunc(rows, func(r *row) bool { return r.Kind == kind }) {
			p.Legend = append(p.Legend, kind)
		}
	}
	return p
}

// scale decides where times are in the picture. Each moment has some room, and
// what lies between two of them as much as the logarithm of the time.
func (p *page) scale(rows []*row) {
	for _, r := range rows {
		p.times = append(p.times, r.Time)
		if !r.Until.IsZero() {
			p.times = append(p.times, r.Until)
		}
	}
	slices.SortFunc(p.times, time.Time.Compare)
	p.times = slices.CompactFunc(p.times, time.Time.Equal)
	n := float64(len(p.times))
	gap := func(i int) float64 { return math.Log1p(10 * p.times[i].Sub(p.times[i-1]).Seconds()) }
	sum := 1e-9
	for i := 1; i < len(p.times); i++ {
		sum += gap(i)
	}
	room := min(5, 12000/n)
	stretch := max(420, frame-2*margin-room*n) / sum
	p.xs = []px{margin}
	for i := 1; i < len(p.times); i++ {
		p.xs = append(p.xs, p.xs[i-1]+px(room+gap(i)*stretch))
	}
	p.Width = max(p.xs[len(p.xs)-1]+margin, frame)
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
func (p *page) lanes(rows []*row) map[*Process]*lane {
	lanes := map[*Process]*lane{}
	for _, r := range rows {
		lanes[r.Process] = new(lane)
	}
	all := slices.SortedFunc(maps.Keys(lanes), func(a, b *Process) int { return cmp.Or(a.first.Compare(b.first), cmp.Compare(a.Label(), b.Label())) })
	rank := map[string]int{}
	for i, pr := range slices.Backward(all) {
		rank[pr.Name] = i
	}
	slices.SortStableFunc(all, func(a, b *Process) int { return rank[a.Name] - rank[b.Name] })
	for i, pr := range all {
		top := px(axisHeight + i*laneHeight)
		*lanes[pr] = lane{
			Name: pr.Name, Sub: strings.TrimSpace(strings.TrimPrefix(pr.Label(), pr.Name)), Top: top, Y: top + laneHeight/2,
			Life: top + laneHeight/2 - 1.5, X: p.at(pr.first), W: p.at(pr.last) - p.at(pr.first),
		}
		p.Lanes = append(p.Lanes, lanes[pr])
	}
	p.Height = px(axisHeight + len(all)*laneHeight)
	return lanes
}

// spread returns where events are: at their times, or where that leaves no room
// for a mark, to the right of the process's one before. It names as many moments
// as there is room for.
func (p *page) spread(rows []*row) map[*row]px {
	xs, free, next := map[*row]px{}, map[*Process]px{}, px(0)
	for _, r := range slices.SortedStableFunc(slices.Values(rows), func(a, b *row) int { return a.Time.Compare(b.Time) }) {
		x := p.at(r.Time)
		if room := px(7*len(r.Clock) + 8); x >= next && x+room < p.Width {
			p.Ticks = append(p.Ticks, label{X: x, Text: r.Clock})
			next = x + room + 22
		}
		if r.Kind != Drain && r.Kind != Phase && r.Kind != Step {
			x = max(x, free[r.Process])
			free[r.Process] = x + 12
		}
		xs[r] = x
	}
	return xs
}

// place makes an event a bar or a mark. What lasts is a bar, and so is all of a
// drain, also where its end is not in the logs.
func (p *page) place(m mark) {
	m.H = map[Kind]px{Drain: 30, Phase: 20, Wait: 14}[m.Kind]
	if m.H == 0 || m.Kind == Wait && m.Until.IsZero() {
		p.Marks = append(p.Marks, m)
		return
	}
	m.W, m.Top = 5, m.Y-m.H/2
	if !m.Until.IsZero() {
		m.W = max(p.at(m.Until)-m.X, 5)
	}
	if name := strings.TrimPrefix(m.Text, "phase "); m.Kind == Phase && px(7*len(name)+56) < m.W {
		m.Caption = &label{m.X + 12, m.Y + 4, name}
	}
	p.Bars = append(p.Bars, m)
}

// waits draws when sessions had no answer, below the processes.
func (p *page) waits() {
	p.WaitsY = p.Height
	for _, c := range p.Costly {
		for _, s := range c.waits {
			m := mark{Color: c.Color, X: p.at(s[0]), Y: p.WaitsY + laneHeight/2 + 4}
			m.W = max(p.at(s[1])-m.X, 3)
			if text := human(s[1].Sub(s[0])); px(7*len(text)) < m.W {
				m.Caption = &label{m.X + 1, m.Y - 7, text}
			}
			p.Waits = append(p.Waits, m)
			p.Height = p.WaitsY + laneHeight
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
