//go:build unix

// Cli shows fifteen answers as they are written, until a key or a signal ends it.
// However it ends, it restores the terminal and leaves nothing running:
//
//	go -C examples/cli run .
//
// Ctrl-C or q asks it to end. A second Ctrl-C ends it without waiting.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/lifecycle"
)

const answers = 15

var errQuit = fmt.Errorf("quit: %w", context.Canceled)

func main() {
	stuck := flag.Bool("stuck", false, "let one answer ignore the request to end")
	flag.Parse()
	os.Exit(lifecycle.ExitCode(run("/dev/tty", *stuck)))
}

func run(tty string, stuck bool) error {
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()
	ctx, quit := lifecycle.WithFlag(ctx)

	s, err := openScreen(tty)
	if err != nil {
		return err
	}
	defer s.Close() // if the plan was not reached

	var g lifecycle.Group
	g.Drain = drain.Plan{Budget: 5 * time.Second, Phases: []drain.Phase{
		{Name: "answers", Steps: []drain.Step{g.Step()}},
		{Name: "terminal", Reserve: time.Second, Steps: []drain.Step{drain.Close("terminal", s)}},
	}}
	for i := range answers {
		g.Go("answer", func(ctx context.Context) error { return show(ctx, s, i+1, stuck && i == 7) })
	}
	g.Go("keys", func(ctx context.Context) error { return keys(ctx, s, quit) })
	return g.Run(ctx)
}

// show draws an answer on its line while it is written.
func show(ctx context.Context, s *screen, line int, stuck bool) error {
	words := lifecycle.Generate(ctx, 0, func(ctx context.Context, yield func(string) bool) error {
		return write(ctx, line, stuck, yield)
	})
	text := ""
	for word := range words.All() {
		if text += word + " "; len(text) > 60 {
			text = ""
		}
		s.draw(line, fmt.Sprintf("answer %2d  %s", line, text))
	}
	return words.Err()
}

// write stands for a remote model that answers word by word, without end.
func write(ctx context.Context, seed int, stuck bool, yield func(string) bool) error {
	pause := time.NewTicker(time.Duration(20+seed) * time.Millisecond)
	defer pause.Stop()
	for i := 0; ; i++ {
		if !yield(strings.Repeat("ab"[i%2:i%2+1], 1+(i*seed)%7)) {
			return nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			if stuck {
				select {}
			}
			return nil
		}
	}
}

// keys reads the keyboard through a separate stream, the sixteenth.
func keys(ctx context.Context, s *screen, quit *lifecycle.Flag) error {
	s.draw(answers+2, "q or ctrl-c ends")
	typed := lifecycle.Generate(ctx, 1, func(ctx context.Context, yield func(byte) bool) error {
		defer context.AfterFunc(ctx, s.wake)()
		for key := make([]byte, 1); ; {
			if _, err := s.tty.Read(key); err != nil || !yield(key[0]) {
				return err
			}
		}
	})
	for key := range typed.All() {
		if key == 'q' {
			quit.Raise(errQuit)
		}
	}
	if err := typed.Err(); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}
