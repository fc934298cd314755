package timeline

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
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
	Headline, Span string
	Width, Height  px
	AxisY, TicksY  px
	SilenceY       px
	Silences       []mark // when sessions had no answer
	Lane           int
	Lanes          []*lane
	Ticks, Gaps    []tick
	Bars, Marks    []mark
	Arrows         []arrow
	Palette        []int
	Legend         []legend
	Details        []detail
}

// A px is a length, written with one digit.
type px float64

func (x px) String() string { return strconv.FormatFloat(float64(x), 'f', 1, 64) }

type lane struct {
	Name, Sub    string
	Top, Y, Life px
	X, W         px // of its life, as far as it is in the picture
}

type tick struct {
	X     px
	Label string
}

// A mark is an event's place; a bar has a width.
type mark struct {
	*row
	Color      int
	X, Y, W, H px
	Top        px
	Label      string
	Caption    *caption // where there is room for it
}

type caption struct {
	X, Y  px
	Label string
	Color int
}

type arrow struct {
	From, To, Color int
	Path            string
	Inner           bool // of a drain to its own parts, whose bars say so
}

type legend struct {
	Kind     Kind
	Name     string
	Bad, Bar bool
}

// A detail is what the page's script shows of an event.
type detail struct {
	Time, Process, What, Because, Place string
	Kind                                Kind
	From, Color                         int
	Attrs                               []string
}

const (
	laneHeight = 46
	axisHeight = 44
	margin     = 26
	colors     = 6 // of chains that cost something; 0 is for the others
	calm       = 3 // the others' where all is well
)

func (t *Timeline) draw() *page {
	p := &page{view: t.view(), Lane: laneHeight, AxisY: axisHeight - 20, TicksY: axisHeight - 10}
	at, width := p.scale()
	p.Width = px(width)
	lanes := p.lanes(at)
	p.Height = px(axisHeight + len(p.Lanes)*laneHeight)
	for c := range colors + 1 {
		p.Palette = append(p.Palette, c)
	}
	where := map[int]mark{}
	xs := p.spread(at)
	seen := map[Kind]bool{}
	for _, c := range slices.Concat(p.Costly, p.Quiet) {
		for _, r := range c.Rows {
			seen[r.Kind] = true
			if len(p.Costly) == 0 {
				c.Color = calm
			}
			m := mark{row: r, Color: c.Color, X: xs[r], Y: lanes[r.Process].Y}
			m.Label = fmt.Sprintf("%s, %s: %s", r.Clock, r.Process.Label(), r.What)
			if !r.Until.IsZero() {
				m.W = max(px(at(r.Until))-m.X, 5)
			}
			if from, ok := where[r.From]; ok {
				p.Arrows = append(p.Arrows, arrow{r.From, r.Number, c.Color, path(from, m), m.Kind == Step || from.Kind == Drain && m.Kind == Phase})
			}
			where[r.Number] = m
			p.place(m)
			p.Details = append(p.Details, detail{
				r.Clock, r.Process.Label(), r.What, r.Because, fmt.Sprintf("%s:%d", r.Input, r.Line), r.Kind, r.From, c.Color, r.Attrs,
			})
		}
	}
	p.silences(at)
	for _, l := range legends {
		if seen[l.Kind] {
			p.Legend = append(p.Legend, l)
		}
	}
	p.ticks(at)
	p.head()
	return p
}

var legends = []legend{
	{Order, "order to stop", false, false}, {Signal, "signal", false, false}, {Stop, "stop", false, false}, {Failure, "failure", true, false},
	{Drain, "drain", false, true}, {Phase, "phase", false, true}, {Step, "step", false, false}, {Cut, "cut session", true, false},
	{Exit, "exit", false, false}, {Wait, "wait", false, true}, {Start, "start", false, false}, {Reconnect, "session is back", false, false},
	{Answer, "answer", false, false},
}

// place makes an event a bar or a mark. What lasts is a bar, and so is all of a
// drain, also where its end is not in the logs.
func (p *page) place(m mark) {
	switch m.Kind {
	case Drain:
		m.H = 30
	case Phase:
		m.H = 20
	case Wait:
		m.H = 14
	}
	if m.H == 0 || m.Kind == Wait && m.W == 0 {
		p.Marks = append(p.Marks, m)
		return
	}
	m.W, m.Top = max(m.W, 5), m.Y-m.H/2
	name := strings.TrimPrefix(m.Text, "phase ")
	if m.Kind == Phase && px(7*len(name)+56) < m.W {
		m.Caption = &caption{m.X + 12, m.Y + 4, name, m.Color}
	}
	p.Bars = append(p.Bars, m)
}

// silences draws when sessions had no answer, below the processes.
func (p *page) silences(at func(time.Time) float64) {
	for _, c := range p.Costly {
		for _, s := range c.silences {
			m := mark{Color: c.Color, X: px(at(s[0])), Y: p.Height + laneHeight/2 + 4}
			m.W = max(px(at(s[1]))-m.X, 3)
			if label := human(s[1].Sub(s[0])); px(7*len(label)) < m.W {
				m.Caption = &caption{m.X + 1, m.Y - 7, label, c.Color}
			}
			p.Silences = append(p.Silences, m)
		}
	}
	if p.SilenceY = p.Height; len(p.Silences) > 0 {
		p.Height += laneHeight
	}
}

// bad events are drawn solid: what they did cost something.
func (e *Event) bad() bool {
	return e.Kind == Cut || e.Kind == Failure || e.Kind == Exit && (strings.Contains(e.Text, "killed by") || !strings.HasSuffix(e.Text, "status 0"))
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

// events yields all events in the picture.
func (v *view) events(yield func(*row) bool) {
	for _, c := range slices.Concat(v.Costly, v.Quiet) {
		for _, r := range c.Rows {
			if !yield(r) {
				return
			}
		}
	}
}

// scale returns where a time is in the picture, and its width. Each moment has
// some room, and what lies between two of them as much as the root of the time;
// a pause that would take a fifth of the picture is broken.
func (p *page) scale() (at func(time.Time) float64, width float64) {
	var times []time.Time
	for r := range p.events {
		times = append(times, r.Time)
		if !r.Until.IsZero() {
			times = append(times, r.Until)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	times = slices.CompactFunc(times, time.Time.Equal)
	if len(times) == 0 {
		return func(time.Time) float64 { return margin }, 900
	}
	gap := make([]float64, len(times)-1)
	for i := range gap {
		gap[i] = math.Sqrt(times[i+1].Sub(times[i]).Seconds())
	}
	sum := 0.0
	broken := map[int]bool{}
	for range 3 {
		sum = 0
		for i := range gap {
			sum += gap[i]
		}
		for i := range gap {
			if len(gap) > 5 && gap[i] > sum/5 {
				gap[i], broken[i] = sum/5, true
			}
		}
	}
	const frame = 1026 // which the page has for it; what needs more is scrolled
	room, rooms := make([]float64, len(gap)), 0.0
	for i := range gap {
		room[i] = min(5+7*min(1, 4*gap[i]), 12000/float64(len(times)))
		rooms += room[i]
	}
	stretch := max(420, frame-2*margin-rooms)
	xs := make([]float64, len(times))
	xs[0] = margin
	for i := range gap {
		xs[i+1] = xs[i] + room[i] + gap[i]/max(sum, 1e-9)*stretch
	}
	last := xs[len(xs)-1]
	for i := range times[1:] {
		if broken[i] {
			p.Gaps = append(p.Gaps, tick{px(xs[i]+xs[i+1]) / 2, human(times[i+1].Sub(times[i]))})
		}
	}
	return func(t time.Time) float64 {
		i, found := slices.BinarySearchFunc(times, t, time.Time.Compare)
		switch {
		case found:
			return xs[i]
		case i == 0:
			return 0
		case i == len(times):
			return last + margin
		}
		part := t.Sub(times[i-1]).Seconds() / times[i].Sub(times[i-1]).Seconds()
		return xs[i-1] + part*(xs[i]-xs[i-1])
	}, max(last+margin, frame)
}

// spread returns where events are: at their times, or where that leaves no room
// for a mark, to the right of the process's one before.
func (p *page) spread(at func(time.Time) float64) map[*row]px {
	xs, free := map[*row]px{}, map[*Process]px{}
	for _, r := range p.inTime() {
		xs[r] = px(at(r.Time))
		if r.Kind != Drain && r.Kind != Phase && r.Kind != Step {
			xs[r] = max(xs[r], free[r.Process])
			free[r.Process] = xs[r] + 12
		}
	}
	return xs
}

func (v *view) inTime() []*row {
	return slices.SortedStableFunc(v.events, func(a, b *row) int { return a.Time.Compare(b.Time) })
}

// lanes gives each process that has events one, those of a name together, and
// names that cause more than they suffer above the others.
func (p *page) lanes(at func(time.Time) float64) map[*Process]*lane {
	var list []*Process
	order, caused, all := map[string]int{}, map[string]float64{}, map[string]float64{}
	for r := range p.events {
		if !slices.Contains(list, r.Process) {
			list = append(list, r.Process)
		}
		if c := r.Cause; c != nil && c.Process.Name != r.Process.Name {
			caused[c.Process.Name]++
			all[c.Process.Name]++
			all[r.Process.Name]++
		}
	}
	slices.SortStableFunc(list, func(a, b *Process) int { return a.First.Compare(b.First) })
	for i, pr := range list {
		if _, ok := order[pr.Name]; !ok {
			order[pr.Name] = i
		}
	}
	share := func(name string) float64 { return caused[name] / max(all[name], 1) }
	slices.SortStableFunc(list, func(a, b *Process) int {
		return cmp.Or(cmp.Compare(share(b.Name), share(a.Name)), cmp.Compare(order[a.Name], order[b.Name]))
	})
	lanes := map[*Process]*lane{}
	for i, pr := range list {
		l := &lane{Name: pr.Name, Sub: strings.TrimSpace(strings.TrimPrefix(pr.Label(), pr.Name)), Top: px(axisHeight + i*laneHeight)}
		l.Y, l.Life = l.Top+laneHeight/2, l.Top+laneHeight/2-1.5
		l.X = px(at(pr.First))
		l.W = px(at(pr.Last)) - l.X
		lanes[pr] = l
		p.Lanes = append(p.Lanes, l)
	}
	return lanes
}

// ticks names as many moments as there is room for.
func (p *page) ticks(at func(time.Time) float64) {
	next := px(0)
	for _, r := range p.inTime() {
		if x, room := px(at(r.Time)), px(7*len(r.Clock)+8); x >= next && x+room < p.Width {
			p.Ticks = append(p.Ticks, tick{x, r.Clock})
			next = x + room + 22
		}
	}
}

// head says in one line what happened.
func (p *page) head() {
	sessions, failures := map[string]bool{}, 0
	var first, last time.Time
	for _, c := range slices.Concat(p.Costly, p.Quiet) {
		if t := c.Events[0].Time; first.IsZero() || t.Before(first) {
			first = t
		}
		last = later(last, c.Until)
		failures += c.Failures
		for _, s := range c.Sessions {
			sessions[s] = true
		}
	}
	chains := plural(len(p.Costly), "independent chain")
	if len(p.Costly) == 1 {
		chains = "One chain"
	}
	switch {
	case len(sessions) > 0:
		p.Headline = chains + " cut " + plural(len(sessions), "session")
	case failures > 0:
		p.Headline = chains + ", " + plural(failures, "failed process")
	case len(p.Quiet) > 0:
		p.Headline = plural(len(p.Quiet), "stop") + ", and nothing was lost"
	default:
		p.Headline = "Nothing stopped"
		return
	}
	p.Span = fmt.Sprintf("%s, %s to %s", first.Format("2 January 2006"), p.clock(first), p.clock(last))
}
