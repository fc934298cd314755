package timeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// document reads JSON that is spread over lines, to its closing brace. A list of
// Kubernetes objects is as many lines as it has items.
func (in *input) document() {
	text, begin := []byte("{"), in.lines
	for {
		part, err := in.line()
		if len(text) < document {
			text = append(text, part...)
		}
		if closing := bytes.HasPrefix(part, []byte("}")); closing || err != nil {
			if closing && len(bytes.TrimSpace(part)) > 1 {
				text = append(text[:len(text)-len(part)], '}')
			}
			break
		}
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(text, &list); err != nil {
		in.unread(fmt.Errorf("not JSON: %w", err))
		return
	}
	items := list.Items
	if items == nil {
		items = []json.RawMessage{text}
	}
	end := in.lines
	for _, item := range items {
		var one bytes.Buffer
		if json.Compact(&one, item) == nil {
			in.lines = begin
			in.understand(one.String(), true)
		}
	}
	in.lines = end
}

// runs reads a row of what restart.Ledger's Table returns, as the start and, unless
// it is open, the end of a run.
func (in *input) runs(row string) {
	f := append(strings.Fields(row), "", "", "", "", "") // LASTED and CUT may be empty
	began, err := time.Parse(time.RFC3339, f[0])
	pid, notPID := strconv.Atoi(f[3])
	if err = errors.Join(err, notPID); err != nil {
		in.unread(fmt.Errorf("not a ledger's row: %w", err))
		return
	}
	start := line{in: in, n: in.lines, at: began, pid: pid, msg: "run began", kind: kindStart, attrs: map[string]string{"backoff": f[1], "waited": f[2]}}
	in.send(&start)
	lasted, err := time.ParseDuration(f[4])
	if err != nil {
		return
	}
	end := start
	end.at, end.msg, end.kind, end.status = began.Add(lasted), "run ended", kindExit, f[5]
	sessions := "cut"
	if f[7] == "in" { // "3 in flight, 1 again"
		sessions = "inflight"
	}
	end.attrs = map[string]string{"end": f[5], "lasted": f[4], sessions: strings.TrimSpace(strings.Join(f[6:], " "))}
	in.send(&end)
}
