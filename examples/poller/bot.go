package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/restart"
)

// A bot gets updates from an API that lets one poll be open at a time.
type bot struct {
	api, token string
	timeout    time.Duration // of a poll
	log        *slog.Logger
	polls      drain.Gate

	mu        sync.Mutex
	next      int       // the offset: all updates before it were handled
	confirmed int       // what of that the API knows
	free      time.Time // until then the API may hold a poll whose answer was lost
}

type update struct {
	ID int `json:"update_id"`
}

// held is how long the API may hold a poll, and a little more for the network.
func (b *bot) held() time.Duration { return b.timeout + b.timeout/2 }

// run polls until the gate is shut. It lets a running poll return by itself, because a
// cut one would stay open at the API.
func (b *bot) run(ctx context.Context) error {
	for {
		ctx, leave, ok := b.polls.Join(ctx, "poll")
		if !ok {
			return nil
		}
		err := b.poll(ctx, b.timeout)
		leave()
		if err != nil {
			return err
		}
	}
}

// confirm confirms the handled updates to the API, so that the next poller does not get
// them again.
func (b *bot) confirm(ctx context.Context) error {
	for ctx.Err() == nil && b.unsettled() {
		select {
		case <-time.After(time.Until(b.freeAt())):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := b.poll(ctx, 0); err != nil {
			b.log.Warn("not confirmed yet", "error", err)
			select {
			case <-time.After(b.timeout / 10):
			case <-ctx.Done():
			}
		}
	}
	return context.Cause(ctx)
}

func (b *bot) unsettled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next != b.confirmed || time.Now().Before(b.free)
}

func (b *bot) freeAt() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.free
}

// poll asks for updates and handles them. With a timeout of 0 it only confirms:
// what the API answers then is left to the next poller.
func (b *bot) poll(ctx context.Context, timeout time.Duration) error {
	var offset int
	b.note(func() { offset = b.next })
	updates, err := b.getUpdates(ctx, offset, timeout)
	if errors.Is(err, errLost) {
		b.note(func() { b.free = time.Now().Add(b.held()) })
		return restart.RetryAfter(err, b.held())
	}
	if err != nil {
		return err
	}
	b.note(func() { b.confirmed = offset })
	if timeout == 0 {
		return nil
	}
	for _, u := range updates {
		if err := b.handle(u); err != nil {
			return fmt.Errorf("update %d: %w", u.ID, err)
		}
		b.note(func() { b.next = u.ID + 1 })
	}
	return nil
}

func (b *bot) note(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// errLost ends a request that may have reached the API.
var errLost = errors.New("answer lost")

// client makes a connection for each request. On a used one, net/http would repeat a
// request that the API may already have received.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}

func (b *bot) getUpdates(ctx context.Context, offset int, timeout time.Duration) ([]update, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout+b.timeout/2)
	defer cancel()
	q := url.Values{"offset": {strconv.Itoa(offset)}, "timeout": {strconv.Itoa(int(timeout.Seconds()))}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.api+"/bot"+url.PathEscape(b.token)+"/getUpdates?"+q.Encode(), nil)
	if err != nil {
		return nil, restart.Permanent(errors.New("poller: -api: not a URL"))
	}
	answer, err := client.Do(r)
	var failed *url.Error // its text has the token in it
	if errors.As(err, &failed) {
		err = failed.Err
	}
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return nil, fmt.Errorf("getUpdates: %w", err)
	case err != nil:
		return nil, fmt.Errorf("getUpdates: %w: %w", errLost, err)
	}
	defer answer.Body.Close()
	var body struct {
		OK          bool
		Result      []update
		Description string
		Parameters  struct {
			RetryAfter int `json:"retry_after"`
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return nil, fmt.Errorf("getUpdates: %s: %w: %w", answer.Status, errLost, err)
	}
	err = fmt.Errorf("getUpdates: %s", body.Description)
	switch {
	case body.OK:
		return body.Result, nil
	case body.Parameters.RetryAfter > 0:
		return nil, restart.RetryAfter(err, time.Duration(body.Parameters.RetryAfter)*time.Second)
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusNotFound:
		return nil, restart.Permanent(err)
	}
	return nil, err
}
