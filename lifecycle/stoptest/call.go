package stoptest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A call is one call of a load. It is a value of the context that Do gets.
type call struct {
	load   int                          // its index
	kept   *http.Transport              // the client's, for further calls; nil to take a new one
	pause  func(context.Context, *call) // what Admitted does in the middle; nil for nothing
	began  time.Time
	proved atomic.Bool // the program has begun the work
}

// An end is how a call ended.
type end int

const (
	answered end = iota
	refused
	lost
	unproven
)

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

func (c *call) prove() {
	if c != nil {
		c.proved.Store(true)
	}
}

func (c *call) middle(ctx context.Context) {
	if c != nil && c.pause != nil {
		c.pause(ctx, c)
	}
}

// errNoFraming is the error of a response whose only end is the end of its connection, so
// that nothing tells a whole one from a part.
var errNoFraming = errors.New("the response has neither a length nor chunks")

// endOf returns how a call ended that returned err.
func (c *call) endOf(err error) end {
	switch {
	case err == nil:
		return answered
	case isRefused(err):
		return refused
	case c.proved.Load() && !errors.Is(err, errNoFraming):
		return lost
	}
	return unproven
}

// short is the text of an error without network addresses, and "" for nil.
func short(err error) string {
	if err == nil {
		return ""
	}
	var op *net.OpError
	for errors.As(err, &op) {
		if err = op.Err; !errors.As(err, new(*net.OpError)) {
			return op.Op + ": " + err.Error()
		}
	}
	return err.Error()
}

// isRefused recognizes a refused connection, and what HTTP/2 says of a request that the
// server has not begun. Not all packages and systems have an error value for each.
func isRefused(err error) bool {
	return errors.Is(err, ErrRefused) || errors.Is(err, syscall.ECONNREFUSED) || slices.ContainsFunc(
		[]string{"connection refused", "actively refused", "REFUSED_STREAM", "graceful shutdown GOAWAY"},
		func(words string) bool { return strings.Contains(err.Error(), words) })
}
