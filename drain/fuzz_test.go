package drain_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/proctest"
)

// Validate turns a plan away with an error that names the field. Any other plan is over
// at its deadline, whatever its steps do, and each reserve is kept.
func FuzzPlan(f *testing.F) {
	f.Add(int64(25*time.Second), int64(15*time.Second), int64(0), int64(0), int64(3*time.Second), int64(time.Second), uint8(0))
	f.Add(int64(0), int64(-1), int64(0), int64(0), int64(0), int64(-1), uint8(1))
	f.Add(int64(5), int64(1), int64(2), int64(0), int64(5), int64(3), uint8(2))
	f.Add(int64(math.MaxInt64), int64(0), int64(math.MaxInt64), int64(0), int64(math.MaxInt64), int64(9), uint8(3))
	f.Add(int64(math.MaxInt64), int64(0), int64(math.MaxInt64), int64(0), int64(0), int64(time.Hour), uint8(6))
	f.Fuzz(func(t *testing.T, budget, timeout1, reserve1, timeout2, reserve2, ago int64, how uint8) {
		synctest.Test(t, func(t *testing.T) {
			ctx, force := asked(time.Now().Add(-time.Duration(max(ago, 0))))
			defer force()
			if how&4 != 0 {
				force()
			}
			freed, begun := make(chan struct{}), [3]time.Time{}
			stuck := func(i int) drain.Step {
				return drain.Step{Name: "step", Stop: func(context.Context) error { begun[i] = time.Now(); <-freed; return nil }, Kill: func() { <-freed }}
			}
			p := drain.Plan{Budget: time.Duration(budget), Phases: []drain.Phase{
				phase("a", time.Duration(timeout1), time.Duration(reserve1), stuck(0)),
				phase("b", time.Duration(timeout2), time.Duration(reserve2), stuck(1)),
				phase([]string{"c", "a", ""}[how%3], 0, 0, drain.Step{Name: "quick", Stop: takes(0)})}}
			began := time.Now()
			rep, err := p.Run(ctx)
			took := time.Since(began)
			close(freed)
			synctest.Wait()
			if len(rep.Results) == 0 {
				if err == nil || took != 0 || !regexp.MustCompile(`^drain: (phase .*)?(Budget|Name|Timeout|Reserve): `).MatchString(err.Error()) {
					t.Errorf("%v after %v", err, took)
				}
				return
			}
			p.Budget = cmp.Or(p.Budget, drain.DefaultBudget)
			left := p.Budget - p.Phases[0].Reserve - p.Phases[1].Reserve
			if most := min(rep.Deadline.Sub(began), p.Budget); p.Budget < 0 || left < 0 || took > most || most < p.Budget-left || how&4 == 0 && !begun[1].IsZero() && rep.Deadline.Sub(begun[1]) < time.Duration(reserve2) {
				t.Errorf("%+v: took %v of %v; b began %v before", p, took, most, rep.Deadline.Sub(begun[1]))
			}
		})
	})
}

// Whatever its fields, a Server's step ends when its time does, and a refused client
// gets a wait in whole seconds, from RetryAfter to twice as long.
func FuzzServer(f *testing.F) {
	f.Add(int64(15*time.Second), int64(0), int64(0), int64(30*time.Second))
	f.Add(int64(-1), int64(1), int64(1500*time.Millisecond), int64(1))
	f.Add(int64(math.MaxInt64/2), int64(0), int64(math.MaxInt64), int64(time.Hour))
	f.Fuzz(func(t *testing.T, settle, window, after, within int64) {
		synctest.Test(t, func(t *testing.T) {
			s := &drain.Server{HTTP: &http.Server{}, Settle: time.Duration(settle), Window: time.Duration(window), RetryAfter: time.Duration(after)}
			l := pipes{make(chan struct{})}
			go s.Serve(t.Context(), l)
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(within))
			defer cancel()
			began := time.Now()
			err := s.Step().Stop(ctx)
			took, most := time.Since(began), time.Duration(max(within, 0))
			if took > most || err != nil && most > time.Second || err == nil && settle > 0 && took < min(time.Duration(settle), most/2) && window <= 0 {
				t.Errorf("Settle %v, Window %v: %v after %v of %v", s.Settle, s.Window, err, took, most)
			}
			s.Step().Kill()
			w := httptest.NewRecorder()
			s.Handler(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			wait, err := strconv.ParseInt(w.Header().Get("Retry-After"), 10, 64)
			least := max(s.RetryAfter, time.Second).Seconds()
			if err != nil || w.Code != http.StatusServiceUnavailable || float64(wait) < least || float64(wait) > 2*least+1 {
				t.Errorf("RetryAfter %v: %d, %v, %v", s.RetryAfter, w.Code, w.Header(), err)
			}
		})
	})
}

// pipes is a listener in memory that accepts no connection.
type pipes struct{ closed chan struct{} }

func (p pipes) Accept() (net.Conn, error) { <-p.closed; return nil, net.ErrClosed }
func (p pipes) Addr() net.Addr            { return &net.TCPAddr{} }
func (p pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// listens is a program that ends as soon as it serves at ADDR, and prints the error,
// and what is left of systemd's variables.
func listens() {
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &drain.Server{HTTP: &http.Server{Addr: os.Getenv("ADDR"), BaseContext: func(net.Listener) context.Context { cancel(io.EOF); return ctx }}}
	fmt.Print(s.ListenAndServe(ctx), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDNAMES"))
}

// Whatever systemd's variables hold, a program takes the passed socket if they say so,
// listens by itself if not, and leaves none of them to its children.
func FuzzListenFDs(f *testing.F) {
	if runtime.GOOS == "windows" {
		f.Skip("skipped: on Windows no descriptors are passed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	f.Add("1", "", "web")
	f.Add("3", "", ":::")
	f.Add("-1", "", "")
	f.Add("9223372036854775807", "", "")
	f.Add("1", "1", "web")
	f.Fuzz(func(t *testing.T, fds, pid, names string) {
		if strings.Contains(fds+pid+names, "\x00") { // no variable can hold it
			return
		}
		for name, v := range map[string]string{"ADDR": l.Addr().String(), "LISTEN_FDS": fds, "LISTEN_PID": pid, "LISTEN_FDNAMES": names} {
			t.Setenv(name, v)
		}
		n, err := strconv.Atoi(fds)
		taken := err == nil && pid == "" && n > 0 && n <= 1<<16
		p := proctest.Pass(t, []*os.File{file}, "listens", "sh", "-c", `test "$LISTEN_PID" || export LISTEN_PID=$$; exec "$@"`, "sh")
		if said, status := p.Ended(); status != 0 || taken != (said == "EOF") || !taken && !strings.HasSuffix(said, "address already in use") {
			t.Errorf("LISTEN_FDS=%q LISTEN_PID=%q LISTEN_FDNAMES=%q: status %d: %s", fds, pid, names, status, said)
		}
	})
}
