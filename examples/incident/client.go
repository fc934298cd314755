package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
)

// A client is the part of a CLI that talks to the gateway. It is the same in both
// worlds.
type client struct {
	role
	log      *slog.Logger
	http     http.Client
	sessions atomic.Int64 // attempts made
	answers  atomic.Int64
}

var errCut = errors.New("the stream was cut")

// hold holds a session until the gateway says goodbye or the stream is cut.
func (c *client) hold(ctx context.Context) error {
	return c.read(ctx, "session", c.sessions.Add(1), "hello", "connected", "goodbye", "goodbye")
}

// ask asks for an answer and reads it to its end.
func (c *client) ask(ctx context.Context) error {
	return c.read(ctx, "answer", c.answers.Add(1), "word", "streaming", "done", "answered")
}

// read reads a stream, and logs what its first and its last event mean. A stream
// that began and does not get to its last event is cut, unless ctx says that
// this CLI wants no more.
func (c *client) read(ctx context.Context, kind string, attempt int64, first, begun, last, ended string) error {
	log := c.log.With("kind", kind, "attempt", strconv.FormatInt(attempt, 10))
	q := url.Values{"id": {c.Session}, "attempt": {strconv.FormatInt(attempt, 10)}}
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+c.Addr+"/"+kind+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", kind, resp.Status)
	}
	began := false
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		event, is := strings.CutPrefix(in.Text(), "event: ")
		if is && event == first && !began {
			began = true
			log.Info(begun)
		}
		if is && event == last {
			log.Info(ended)
			return nil
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	log.Info("cut")
	return errCut
}
