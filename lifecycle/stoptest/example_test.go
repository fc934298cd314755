package stoptest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

// A test of a service that has pages, uploads, events and its own protocol. Run builds it
// with the race detector, and stops it at each moment once.
func Example() {
	_ = func(t *testing.T) { // TestStops
		stoptest.Run(t, stoptest.Program{
			Package: "./cmd/service",
			Build:   []string{"-race"},
			Args:    []string{"-addr", "{addr}", "-admin", "{admin}", "-state", "{dir}"},
			Ready:   "http://{admin}/readyz",
			Load: []stoptest.Load{
				stoptest.Get("/"),
				stoptest.Upload("/files", 1<<20),
				stoptest.Events("/events", "event: goodbye"),
				{Name: "PRICES", Do: prices, Stream: true},
				stoptest.Silent(),
			},
			Budget: 25 * time.Second,
		})
	}
}

// prices reads a stream of JSON until the server says that it is over.
func prices(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err // a refused connection is a clean refusal
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprintln(conn, "prices please")
	for in := json.NewDecoder(conn); ; {
		var price struct{ Busy, Over bool }
		if err := in.Decode(&price); err != nil {
			return err // lost after the first price, and unproven before
		}
		switch {
		case price.Busy:
			return stoptest.ErrRefused
		case price.Over:
			return nil
		}
		stoptest.Admitted(ctx)
	}
}

// Check needs no test. The program may be written in any language.
func ExampleCheck() {
	result, err := stoptest.Check(context.Background(), stoptest.Program{
		Command: func(l *stoptest.Life) *exec.Cmd {
			return exec.Command("python3", "-m", "http.server", l.Expand("{port}"))
		},
		Load: []stoptest.Load{stoptest.Get("/")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, promise := range result.Broken() {
		fmt.Println("broken:", promise)
	}
}
