package lifecycle

import (
	"fmt"
	"net/http"
)

// Readyz answers a readiness probe: 200 while the group runs and no stop has begun,
// otherwise 503 and the reason. Register it as /readyz, which a drain.Server still
// answers while it refuses other requests. Do not use it as a liveness probe: that
// must succeed during a drain.
func (g *Group) Readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	g.mu.Lock()
	state := g.state
	g.mu.Unlock()
	why := g.tasks.stopCause()
	switch {
	case state == Running && why == nil:
		fmt.Fprintln(w, "ready")
		return
	case state == Running:
		state = Draining
	case state == idle:
		state = "not started"
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	if why != nil {
		fmt.Fprintf(w, "%s: %v\n", state, why)
		return
	}
	fmt.Fprintln(w, state)
}
