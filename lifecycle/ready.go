package lifecycle

import (
	"fmt"
	"net/http"
)

// Readyz answers a readiness probe: 200 while the group runs and nobody has
// asked it to stop, else 503 and why. Register it as the path /readyz, which a
// drain.Server keeps answering while it refuses other requests. A liveness
// probe is another thing: it stays green during a drain.
func (g *Group) Readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	state, why := g.condition()
	if state == running {
		fmt.Fprintln(w, "ready")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	if why != nil {
		fmt.Fprintf(w, "%s: %v\n", state, why)
		return
	}
	if state == idle {
		state = "not started"
	}
	fmt.Fprintln(w, state)
}
