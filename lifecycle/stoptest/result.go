package stoptest

import "io"

// A Result is what all lives of a Check showed.
type Result struct {
	Lives     int         `json:"lives"`
	Judgments []Judgment  `json:"promises"` // one for each promise, in the order of Promises
	Loads     []LoadCount `json:"loads"`
	Findings  []Finding   `json:"findings"`
}

// A Judgment is the verdict on a promise, and how often it was seen: calls for the first
// three promises, lives for the others.
type Judgment struct {
	Promise  Promise `json:"promise"`
	Verdict  Verdict `json:"verdict"`
	Yes      int     `json:"yes"`
	No       int     `json:"no"`
	Unproven int     `json:"unproven"`
}

// A LoadCount says how the calls of a load ended that were in flight at the first signal or
// began later, in lives that ended in an orderly stop.
type LoadCount struct {
	Name     string `json:"name"`
	Answered int    `json:"answered"`
	Refused  int    `json:"refused"`
	Lost     int    `json:"lost"`
	Unproven int    `json:"unproven"`
}

// A Finding is a broken promise in one life.
type Finding struct {
	Promise  Promise  `json:"promise"`
	Saw      string   `json:"saw"`      // what was seen, in a sentence
	Seed     uint64   `json:"seed"`     // a Program with this Seed and one life repeats it
	Moment   string   `json:"moment"`   // such as "SIGTERM in the middle of UPLOAD /files"
	Last     []string `json:"last"`     // the last lines that the program wrote
	Timeline string   `json:"timeline"` // what led to what, as a table

	logs []log // for WriteHTML
}

// Of returns the judgment on a promise.
func (r Result) Of(p Promise) Judgment {
	for _, j := range r.Judgments {
		if j.Promise == p {
			return j
		}
	}
	return Judgment{Promise: p, Verdict: NotTried}
}

// Broken returns the promises that are broken, in the order of Promises.
func (r Result) Broken() (broken []Promise) {
	for _, j := range r.Judgments {
		if j.Verdict == No {
			broken = append(broken, j.Promise)
		}
	}
	return broken
}

// WriteText writes the tables of promises and loads, and the findings.
func (r Result) WriteText(w io.Writer) error { return r.writeText(w) }

// WriteHTML writes the timelines of all findings as a page, which needs no other file.
func (r Result) WriteHTML(w io.Writer) error { return r.writeHTML(w) }
