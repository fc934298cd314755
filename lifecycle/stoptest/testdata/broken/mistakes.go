//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

// A mistake is what a server does wrong, and which promises that breaks.
type mistake struct {
	name   string
	breaks []stoptest.Promise
	make   func(*server)
}

var mistakes = []mistake{
	{"cuts at once", // and calls that a success, though it has cut work
		[]stoptest.Promise{stoptest.WorkAnswered, stoptest.StreamsEnded, stoptest.ReadinessFirst, stoptest.ExitStatus},
		func(s *server) {
			s.plain(nil)
			s.requests.Stop = func(context.Context) error { return s.http.Close() }
		}},

	{"answers 0 after a panic",
		[]stoptest.Promise{stoptest.ExitStatus},
		func(s *server) {
			s.store.Stop = func(context.Context) error {
				defer func() {
					if v := recover(); v != nil {
						fmt.Fprintf(os.Stderr, "panic: %v\n\n%s", v, debug.Stack())
					}
				}()
				panic("jobs: closed twice")
			}
		}},

	{"Shutdown with the ended context", // returns at once; its error is in the exit status
		[]stoptest.Promise{stoptest.WorkAnswered, stoptest.StreamsEnded},
		func(s *server) {
			s.plain(func(context.Context) error { return s.http.Shutdown(s.stopped) })
		}},

	{"Shutdown not waited for", // as in main, if ListenAndServe returns there
		[]stoptest.Promise{stoptest.WorkAnswered, stoptest.StreamsEnded, stoptest.ExitStatus},
		func(s *server) {
			s.plain(func(context.Context) error {
				go s.http.Shutdown(context.Background())
				return nil
			})
		}},

	{"swallows the second signal", // NotifyContext takes the third one too
		[]stoptest.Promise{stoptest.SecondForces, stoptest.ThirdKills},
		func(s *server) {
			s.signals = func(ctx context.Context) (context.Context, context.CancelFunc) {
				return signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
			}
			s.budget = 3 * time.Second // so it outlives the third signal by more than a second
		}},

	{"forgets hijacked connections", // and exits with 0 while they are in use
		[]stoptest.Promise{stoptest.StreamsEnded, stoptest.ExitStatus},
		func(s *server) { s.plain(s.http.Shutdown) }},

	{"leaves a child",
		[]stoptest.Promise{stoptest.NothingLeft},
		func(s *server) {
			open := s.group.Start
			s.group.Start = func(ctx context.Context) error {
				if err := exec.Command("sleep", "60").Start(); err != nil {
					return err
				}
				return open(ctx)
			}
		}},

	{"leaves a temp file", // os.Exit in main skips the defer that would remove it
		[]stoptest.Promise{stoptest.NothingLeft},
		func(s *server) {
			open := s.group.Start
			s.group.Start = func(ctx context.Context) error {
				f, err := os.CreateTemp("", "scratch")
				if err != nil {
					return err
				}
				f.Close()
				return open(ctx)
			}
		}},

	{"log.Fatal in the serving goroutine", // Serve returns when Shutdown begins; even an idle server exits with 1
		[]stoptest.Promise{stoptest.WorkAnswered, stoptest.StreamsEnded, stoptest.ExitStatus},
		func(s *server) {
			s.plain(s.http.Shutdown)
			s.serve = func(_ context.Context, l net.Listener) error {
				log.Fatal(s.http.Serve(l))
				return nil
			}
		}},

	{"no goodbye", // the framing of the stream is complete: nothing is lost that the exit status should tell
		[]stoptest.Promise{stoptest.StreamsEnded},
		func(s *server) { s.goodbye = "" }},

	{"ready until the end",
		[]stoptest.Promise{stoptest.ReadinessFirst},
		func(s *server) { s.ready = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ready") } }},

	{"waits for a silent client", // 5 s in Shutdown, and this plan lets it
		[]stoptest.Promise{stoptest.InTime},
		func(s *server) {
			s.plain(s.http.Shutdown)
			s.budget = 10 * time.Second
		}},

	// Imitated without gRPC: as GracefulStop, this waits for all streams, which do not learn
	// of the stop, and no time bounds it. A second signal calls the other Stop. When the
	// platform kills the process, the streams are cut.
	{"GracefulStop without bound",
		[]stoptest.Promise{stoptest.StreamsEnded, stoptest.InTime},
		func(s *server) {
			s.stopping = nil // no stream learns of it
			s.plain(func(context.Context) error { return s.http.Shutdown(context.Background()) })
			s.budget = time.Hour
		}},

	{"never exits", // a second signal forces the drain alone; the third kills
		[]stoptest.Promise{stoptest.InTime, stoptest.SecondForces},
		func(s *server) {
			var workers sync.WaitGroup
			workers.Go(func() {
				for {
					time.Sleep(time.Second)
				}
			})
			s.last = workers.Wait
		}},

	{"loses acknowledged work", // a buffer that is written at times, and not at the end
		[]stoptest.Promise{stoptest.WorkThere},
		func(s *server) {
			open := s.group.Start
			s.group.Start = func(ctx context.Context) error {
				if err := open(ctx); err != nil {
					return err
				}
				b := &buffer{to: s.jobs}
				s.jobs = b
				return s.group.Go("jobs", b.flush)
			}
		}},

	{"port in use for the next life", // without SO_REUSEADDR, as sockets are in C, while connections are in TIME_WAIT
		[]stoptest.Promise{stoptest.NextStarts},
		func(s *server) {
			s.listen.Control = func(_, _ string, c syscall.RawConn) (err error) {
				controlErr := c.Control(func(fd uintptr) {
					err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
				})
				if controlErr != nil {
					return controlErr
				}
				return err
			}
		}},
}

// A buffer keeps what is written until the next flush.
type buffer struct {
	to io.Writer

	mu    sync.Mutex
	bytes bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *buffer) flush(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
		b.mu.Lock()
		_, err := b.bytes.WriteTo(b.to)
		b.mu.Unlock()
		if err != nil {
			return err
		}
	}
}
