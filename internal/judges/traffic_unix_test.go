//go:build unix

package judges

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	rate    = 120 // requests in a second, to each service
	clients = 60  // with a kept connection, which is idle for a second in the mean
)

// A traffic sends requests at a fixed rate, whether or not the earlier ones were
// answered. Half use kept connections, and half of each kind are GET, half POST.
type traffic struct {
	choose func() []string // the address, and the one to try if it refuses the connection
	kept   [clients]*http.Client
	fresh  *http.Client
	all    sync.WaitGroup
	stop   context.CancelFunc

	mu sync.Mutex
	cell
	by map[string]int // how many answers each backend gave
}

// send begins to send, and stops with the test at the latest.
func send(t *testing.T, choose func() []string) *traffic {
	const most = 15 * time.Second
	ctx, stop := context.WithCancel(context.Background())
	c := &traffic{
		choose: choose,
		fresh:  &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: most},
		stop:   stop,
		by:     make(map[string]int),
	}
	for i := range c.kept {
		c.kept[i] = &http.Client{Transport: new(http.Transport), Timeout: most}
	}
	c.cell.why = make(map[string]int)
	c.all.Go(func() {
		begin := time.Now()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / rate))):
			}
			c.all.Go(func() { c.one(i) })
		}
	})
	t.Cleanup(func() { c.end() })
	return c
}

// end waits for the answers.
func (c *traffic) end() *cell {
	c.stop()
	c.all.Wait()
	for _, k := range c.kept {
		k.CloseIdleConnections()
	}
	return &c.cell
}

func (c *traffic) one(i int) {
	client, method := c.fresh, http.MethodGet
	if i%2 == 1 {
		client = c.kept[rand.N(clients)]
	}
	if i/2%2 == 1 {
		method = http.MethodPost
	}
	a := c.try(client, method, "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[a.by]++
	c.cell.note(method, a)
}

// long sends a request that takes long. A balancer would repeat a GET.
func (c *traffic) long() {
	c.all.Go(func() {
		a := c.try(c.fresh, http.MethodPost, "/long")
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cell.long.note(a.failed)
		if a.failed != "" {
			c.cell.why["long: "+a.why]++
		}
	})
}

func (c *traffic) stopped(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cell.stops = append(c.cell.stops, took)
}

func (c *traffic) served(by string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[by]
}

// An answer is the result of a request.
type answer struct {
	by     string // which backend answered; "" if none did
	reused bool   // the connection was one that had been kept
	failed kind   // "" if not
	why    string // in words
}

func (c *traffic) try(client *http.Client, method, path string) (a answer) {
	addrs := c.choose()
	for i, addr := range addrs {
		a = do(client, method, "http://"+addr+path)
		if a.failed != refused || i == len(addrs)-1 {
			break
		}
	}
	return a
}

// do sends a request once. If a kept connection breaks, Transport repeats idempotent
// requests, unless they have a body that it cannot get again. So a GET here has an empty
// body of that kind, which is not sent on the wire.
func do(client *http.Client, method, url string) (a answer) {
	var body io.Reader = strings.NewReader("")
	if method == http.MethodPost {
		body = strings.NewReader(strings.Repeat("x", 1000))
	}
	sent := 0
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		sent++
		a.reused = info.Reused
	}})
	r, err := http.NewRequestWithContext(ctx, method, url, io.NopCloser(body))
	if err != nil {
		panic(err)
	}
	w, err := client.Do(r)
	if err == nil {
		a.by = w.Header.Get("Backend")
		_, err = io.Copy(io.Discard, w.Body)
		w.Body.Close()
	}
	switch {
	case sent > 1:
		a.failed, a.why = other, "the transport sent it again"
	case err != nil:
		a.failed, a.why = kindOf(err), addresses.ReplaceAllString(err.Error(), "*")
	case w.StatusCode != http.StatusOK:
		a.failed, a.why = status(w), w.Status
	}
	return a
}

var addresses = regexp.MustCompile(`127\.0\.0\.1:\d+(->127\.0\.0\.1:\d+)?`)

// A kind is how a request failed.
type kind string

const (
	turned  kind = "503"     // by the service
	reset   kind = "reset"   // the connection broke; with a balancer, 502
	refused kind = "refused" // no connection; with haproxy, its own 503
	other   kind = "other"
)

func kindOf(err error) kind {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		strings.HasSuffix(err.Error(), "server closed idle connection"):
		return reset
	}
	return other
}

func status(r *http.Response) kind {
	switch {
	case r.StatusCode == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != "":
		return turned
	case r.StatusCode == http.StatusServiceUnavailable:
		return refused
	case r.StatusCode == http.StatusBadGateway:
		return reset
	}
	return other
}

// ready and within ask a backend, past the balancer.
func ready(addr string) bool {
	_, ok := ask("http://" + addr + "/readyz")
	return ok
}

func within(addr string) int {
	body, _ := ask("http://" + addr + "/within")
	n, _ := strconv.Atoi(body)
	return n
}

func ask(url string) (body string, ok bool) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: watched}
	r, err := c.Get(url)
	if err != nil {
		return "", false
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err == nil && r.StatusCode == http.StatusOK
}
