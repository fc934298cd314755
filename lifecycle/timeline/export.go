package timeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// jsonTimeline is what WriteJSON writes.
type jsonTimeline struct {
	Lines   int            `json:"lines"`
	Formats map[string]int `json:"formats"` // of the first lines of each input
	Events  []jsonEvent    `json:"events"`
	Chains  []jsonChain    `json:"chains"`
	Notes   []string       `json:"notes,omitempty"`
	Samples []string       `json:"samples,omitempty"` // lines that no rule matches, if there is no event
	Unread  []string       `json:"unread,omitempty"`
}

type jsonEvent struct {
	ID      int        `json:"id"`
	Chain   int        `json:"chain"`
	Input   string     `json:"input"`
	Line    int        `json:"line"`
	Also    []place    `json:"also,omitempty"` // further lines that tell the same event
	Time    *time.Time `json:"time"`           // null if no clock told it
	Until   *time.Time `json:"until,omitempty"`
	Kind    eventKind  `json:"kind"`
	Process string     `json:"process"`
	PID     int        `json:"pid,omitempty"`
	About   string     `json:"about,omitempty"` // the process that an order is for
	Session string     `json:"session,omitempty"`
	Signal  string     `json:"signal,omitempty"`
	Text    string     `json:"text"`
	Times   int        `json:"times"`
	Harm    bool       `json:"harm"`
	Rule    string     `json:"rule,omitempty"` // of the table, that found it
	Causes  []jsonLink `json:"causes"`
}

type jsonLink struct {
	Event int    `json:"event"`
	Rule  string `json:"rule"`
	By    string `json:"by"` // evidence or time
}

type jsonChain struct {
	ID         int      `json:"id"`
	Root       int      `json:"root"`
	Title      string   `json:"title"`
	Costly     bool     `json:"costly"`
	Failures   int      `json:"failures"`
	Lost       int      `json:"connections_lost"`
	Cuts       int      `json:"cuts"`
	Sessions   []string `json:"sessions,omitempty"`
	Unanswered float64  `json:"unanswered_seconds"`
	Open       bool     `json:"open"`
	Explained  bool     `json:"explained"` // the logs hold the root's cause: it is one itself
	Events     []int    `json:"events"`
}

// by says what kind of link it is.
func (l link) by() string {
	if l.Evidence {
		return "evidence"
	}
	return "time"
}

// explained reports whether the logs hold the cause of the chain: its root is one,
// as a failure or an order is. Else no line says why.
func (c *chain) explained() bool {
	root := c.Events[0]
	return root.Kind == kindOrder || root.Kind == kindFailure || root.Kind == kindStop && root.signal == "" && len(root.Attrs) > 0
}

// WriteJSON writes all events, their causes and the chains as one object, for
// machines.
func (t *Timeline) WriteJSON(w io.Writer) error {
	v := t.view()
	out := jsonTimeline{Lines: t.lines, Formats: t.formats, Events: []jsonEvent{}, Chains: []jsonChain{}, Notes: v.Notes}
	for _, err := range t.Unread {
		out.Unread = append(out.Unread, err.Error())
	}
	if len(t.chains) == 0 {
		out.Samples = t.samples
	}
	for _, c := range slices.Concat(v.Costly, v.Quiet) {
		jc := jsonChain{
			ID: c.Number, Root: c.Rows[0].Number, Title: c.Title, Costly: c.costly(), Failures: c.Failures, Lost: c.Lost, Cuts: c.Cuts,
			Sessions: c.Sessions, Unanswered: c.Unanswered.Seconds(), Open: c.Open, Explained: c.explained(),
		}
		for _, r := range c.Rows {
			jc.Events = append(jc.Events, r.Number)
			out.Events = append(out.Events, r.json(c.Number, v.number))
		}
		out.Chains = append(out.Chains, jc)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	return nil
}

func (r *row) json(chain int, numbers map[*event]int) jsonEvent {
	e := jsonEvent{
		ID: r.Number, Chain: chain, Input: r.Input, Line: r.Line, Also: r.spans, Kind: r.Kind, Process: r.Process.Name, PID: r.Process.PID, About: r.about,
		Session: cmp.Or(r.Session, r.Process.Session), Signal: r.signal, Text: r.Text, Times: r.Times, Harm: r.Bad, Rule: r.rule, Causes: []jsonLink{},
	}
	if !r.noTime {
		e.Time = &r.Time
	}
	if !r.Until.IsZero() {
		e.Until = &r.Until
	}
	for _, l := range r.Causes {
		if n := numbers[l.event]; n > 0 {
			e.Causes = append(e.Causes, jsonLink{n, l.Rule, l.by()})
		}
	}
	return e
}

// WritePerfetto writes a trace for ui.perfetto.dev: a track for each process, a
// slice for each event, and an arrow for each link.
func (t *Timeline) WritePerfetto(w io.Writer) error {
	type entry map[string]any
	var trace []entry
	v := t.view()
	tracks := map[*process]int{}
	us := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.UnixMicro()
	}
	flow := 0
	for _, c := range slices.Concat(v.Costly, v.Quiet) {
		for _, r := range c.Rows {
			if tracks[r.Process] == 0 {
				tracks[r.Process] = len(tracks) + 1
				trace = append(trace, entry{"ph": "M", "name": "thread_name", "pid": 1, "tid": tracks[r.Process], "args": entry{"name": r.Process.Label()}})
			}
			dur := int64(1000)
			if !r.Until.IsZero() {
				dur = max(dur, us(r.Until)-us(r.Time))
			}
			trace = append(trace, entry{
				"ph": "X", "name": r.Text, "cat": r.Kind, "pid": 1, "tid": tracks[r.Process], "ts": us(r.Time), "dur": dur,
				"args": entry{"id": r.Number, "chain": c.Number, "because": r.Because, "line": fmt.Sprintf("%s:%d", r.Input, r.Line)},
			})
			for _, l := range r.Causes {
				if v.number[l.event] == 0 {
					continue
				}
				flow++
				begin := entry{"ph": "s", "name": l.by(), "cat": l.Rule, "id": flow, "pid": 1, "tid": tracks[l.Process], "ts": us(l.Time)}
				trace = append(trace, begin, entry{"ph": "f", "bp": "e", "name": l.by(), "cat": l.Rule, "id": flow, "pid": 1, "tid": tracks[r.Process], "ts": max(us(r.Time), us(l.Time))})
			}
		}
	}
	if err := json.NewEncoder(w).Encode(entry{"displayTimeUnit": "ms", "traceEvents": trace}); err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	return nil
}
