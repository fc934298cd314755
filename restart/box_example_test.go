//go:build linux || darwin

package restart_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/evenkeel-go/evenkeel/restart"
)

// A handler refuses what was in flight at the last two crashes.
func ExampleBox() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ledger := restart.Ledger{Path: filepath.Join(dir, "ledger"), Policy: restart.Policy{Logger: slog.New(slog.DiscardHandler)}}
	box := ledger.Box() // also the Recorder of the server's gate
	if err := ledger.Begin(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	defer ledger.End(nil)
	handler := func(w http.ResponseWriter, r *http.Request) {
		if session := r.Header.Get("Session"); box.Suspect(session) {
			w.Header().Set("Retry-After", "600")
			http.Error(w, "this session was in flight at the last crashes", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "hello")
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Session", "ann")
	slot := box.Enter("ann") // the gate does this
	handler(w, r)
	runs, err := ledger.Runs()
	fmt.Println(w.Code, w.Body, runs[0].InFlight, runs[0].Had("ann"), err)
	box.Leave(slot)
	// Output:
	// 200 hello 1 true <nil>
}
