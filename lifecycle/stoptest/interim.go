package stoptest

import (
	"context"
	"errors"
	"io"
	"regexp"
)

var errInterim = errors.New("stoptest: the engine follows in the next commit")

type (
	log    struct{}
	call   struct{}
	client struct{ slow bool }
)

var names = regexp.MustCompile(`\{[a-z][a-z0-9]*\}`)

func (c *call) prove()                 {}
func (c *call) middle(context.Context) {}
func callOf(context.Context) *call     { return nil }

func interim(context.Context, string) error                    { return errInterim }
func silent(context.Context, string) error                     { return errInterim }
func get(string, client) func(context.Context, string) error   { return interim }
func post(_, _, _ string) func(context.Context, string) error  { return interim }
func upload(string, int64) func(context.Context, string) error { return interim }
func events(_, _ string) func(context.Context, string) error   { return interim }

func (f Finding) String() string            { return f.Saw }
func (r Result) writeTable(io.Writer) error { return errInterim }
func (r Result) writeText(io.Writer) error  { return errInterim }
func (r Result) writeHTML(io.Writer) error  { return errInterim }
