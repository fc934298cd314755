//go:build unix

package judges

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

var rolls = flag.Int("rolls", 1, "how often TestRolling rolls the two backends of each cell")

const (
	checked = 200 * ms             // between two checks of haproxy
	fall    = 3                    // checks in a row that must fail
	settled = checked * (fall + 1) // as the documentation of drain.Server has it
	watched = settled / 2          // between two checks of the client that fails over by itself: one failure is enough
	started = 300 * ms             // between the exit of a backend and the start of the next one
)

var services = []struct {
	name, program string
	settle        time.Duration
}{
	{"`http.Server.Shutdown`", "bare", 0},
	{"`drain.Server`, Settle 0", "even", 0},
	{fmt.Sprintf("`drain.Server`, Settle %d ms", settled.Milliseconds()), "even", settled},
}

var balancers = []struct {
	name   string
	before func(t *testing.T, addr string, backends [2]string) (addrs func() []string)
	most   int // a service that settles may fail so many requests in a roll, if the balancer sees readiness; -1: it does not
}{
	{"nginx", nginx(""), -1},
	{"nginx, connections kept", nginx(keep), -1},
	{"haproxy", haproxy("http"), 0},
	{"haproxy, mode tcp", haproxy("tcp"), 3}, // a request may be on its way when its idle connection is closed
	{"none: the client fails over", failover, 0},
}

// Two backends are restarted in turn under load, as in a rolling update. The
// services run side by side, so the same machine bears on all. Each must do at
// least as well as http.Server.Shutdown. If the balancer sees readiness, a service
// that settles fails no request.
//
// With -v the test prints the table of docs/balancers.md, which is of -rolls 10.
func TestRolling(t *testing.T) {
	table := newTable()
	for _, b := range balancers {
		t.Run(b.name, func(t *testing.T) {
			cells := make([]*cell, len(services))
			addrs := free(t, 3*len(services))
			t.Run("side by side", func(t *testing.T) {
				for i, s := range services {
					own := addrs[3*i : 3*i+3]
					t.Run(s.name, func(t *testing.T) {
						r := &roll{t: t, program: s.program, settle: s.settle, backends: [2]string(own[1:])}
						r.start(0)
						r.start(1)
						choose := b.before(t, own[0], r.backends)
						t.Parallel() // not before: a missing balancer skips the test
						r.traffic = send(t, choose)
						r.run(*rolls)
						cells[i] = r.traffic.end()
					})
				}
			})
			if slices.Contains(cells, nil) {
				if !t.Failed() {
					t.Skip("skipped: its parts were")
				}
				return
			}
			bare := cells[0].failed()
			if b.name == "haproxy" && bare == 0 {
				t.Error("the judge sees nothing: haproxy does not notice a stop in advance, and no request failed")
			}
			for i, c := range cells {
				table.add(b.name, services[i].name, c)
				if services[i].program == "bare" {
					continue
				}
				allowed := bare + int(max(3, 2*math.Sqrt(float64(bare))))
				if b.most >= 0 && services[i].settle > 0 {
					allowed = b.most * *rolls
				}
				if n := c.failed(); n > allowed {
					t.Errorf("%s: %d of %d requests failed, %d of Shutdown's %d; at most %d may", services[i].name, n, c.sent(), bare, cells[0].sent(), allowed)
				}
				if c.long.failed > 0 {
					t.Errorf("%s: %d of %d requests that were in flight at the stop were lost", services[i].name, c.long.failed, c.long.sent)
				}
			}
		})
	}
	if testing.Verbose() {
		table.print()
	}
}

// A roll is two backends and the traffic to them.
type roll struct {
	t        *testing.T
	program  string
	settle   time.Duration
	backends [2]string // their addresses
	process  [2]*proctest.Process
	traffic  *traffic
}

func (r *roll) start(i int) {
	r.t.Helper()
	r.process[i] = proctest.Start(r.t, "backend", "env", fmt.Sprintf("%s=%s %s %v", backendEnv, r.program, r.backends[i], r.settle))
	eventually(r.t, "the backend is ready", func() bool { return ready(r.backends[i]) })
}

func (r *roll) run(rounds int) {
	for range rounds {
		for i := range r.backends {
			r.inUse(0)
			r.inUse(1)
			eventually(r.t, "a long request is in flight", func() bool {
				if within(r.backends[i]) > 0 {
					return true
				}
				r.traffic.long()             // which may go to the other backend
				time.Sleep(rand.N(200 * ms)) // in step with the others, all would go to the other one
				return within(r.backends[i]) > 0
			})
			time.Sleep(rand.N(checked)) // no stop is in step with the checks
			begin := time.Now()
			r.process[i].Signal(syscall.SIGTERM)
			if said, status := r.process[i].Ended(); status != 0 {
				r.t.Errorf("exit status %d: %s", status, said)
			}
			took := time.Since(begin)
			if took > budget/2 {
				r.t.Errorf("the stop took %v", took)
			}
			r.traffic.stopped(took)
			time.Sleep(started)
			r.start(i)
		}
	}
}

// inUse waits until the backend is used: it may take a balancer 10 s.
func (r *roll) inUse(i int) {
	r.t.Helper()
	before := r.traffic.served(r.backends[i])
	eventually(r.t, "the backend is used", func() bool { return r.traffic.served(r.backends[i]) > before+10 })
}

// free returns n free addresses. Their ports are below those that the kernel gives
// to connections: such a connection would take the place of a backend that is
// down, or connect to itself.
func free(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range 100 * n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.N(12000)))
		if err != nil {
			continue
		}
		defer l.Close()
		if addrs = append(addrs, l.Addr().String()); len(addrs) == n {
			return addrs
		}
	}
	t.Fatal("no free ports")
	return nil
}
