package stoptest

import (
	"context"
	"errors"
	"io"
	"strings"
)

// A Load asks the program for work, as one client.
type Load struct {
	Name string // in tables, such as "GET /"

	// Do makes one call, and returns when its response is complete. It is called again
	// and again, by two goroutines. A returned error means that the call was
	//
	//	refused    if it is ErrRefused, or says so in the words of net or of HTTP/2
	//	lost       if Do had called Admitted
	//	unproven   otherwise
	//
	// ctx ends a moment after the exit of the program.
	Do func(ctx context.Context, addr string) error

	// Stream says that Do reads a stream, so that a lost one breaks StreamsEnded and not
	// WorkAnswered. Do calls Admitted when the stream has begun. One that ends before the
	// signal is no error.
	Stream bool

	// Silent says that Do asks for nothing, so that its end says nothing.
	Silent bool
}

// ErrRefused is what the Do of a Load returns, wrapped or not, if the program said no and
// did nothing.
var ErrRefused = errors.New("stoptest: refused")

// Admitted says that the call of the given context has seen that the program began its
// work: a byte of a response, the first message of a WebSocket, a header of gRPC. An
// error that Do returns later is lost work.
//
// It is also the middle of the call. If this is the moment of the life, Admitted has the
// program stopped, and returns 300 ms after the signal. If a second signal is to force the
// stop, it returns after the exit. Otherwise it returns at once. Do may call it often.
func Admitted(ctx context.Context) {
	if c := callOf(ctx); c != nil {
		c.prove()
		c.middle(ctx)
	}
}

// Get is a load of GET requests. target is a path, or a URL with the host {addr}:
//
//	/                HTTP/1.1
//	h2c://{addr}/    HTTP/2 without TLS
//	https://{addr}/  HTTP/2 or HTTP/1.1; any certificate will do
func Get(target string) Load {
	return Load{Name: "GET " + target, Do: request{method: "GET", target: target}.send}
}

// Post is a load of POST requests with a short body. The other parameters are those of Get
// and of http.Post.
func Post(target, contentType, body string) Load {
	return Load{Name: "POST " + target, Do: request{
		method: "POST", target: target, contentType: contentType,
		body: func(context.Context) (io.Reader, int64) { return strings.NewReader(body), int64(len(body)) },
	}.send}
}

// Upload is a load of POST requests with a body of size bytes. It asks for 100-continue, and
// sends the body in pieces. In a life whose moment is the middle of an upload, half of it is
// sent before the signal and half 300 ms after.
func Upload(target string, size int64) Load {
	return Load{Name: "UPLOAD " + target, Do: request{
		method: "POST", target: target, contentType: "application/octet-stream",
		body: func(ctx context.Context) (io.Reader, int64) { return &pieces{ctx: ctx, size: size}, size },
	}.send}
}

// UploadOf is Upload with a body that the program understands.
func UploadOf(target, contentType, body string) Load {
	return Load{Name: "UPLOAD " + target, Do: request{
		method: "POST", target: target, contentType: contentType,
		body: func(ctx context.Context) (io.Reader, int64) {
			return &pieces{ctx: ctx, body: body, size: int64(len(body))}, int64(len(body))
		},
	}.send}
}

// Events is a load of server-sent events. A stream ends well if its framing is complete and,
// if goodbye is not "", a line of it contains that. A client holds its stream
// until the program ends it.
func Events(target, goodbye string) Load {
	return Load{Name: "EVENTS " + target, Stream: true, Do: request{method: "GET", target: target, read: lines(goodbye)}.send}
}

// Slow is Get by a client that reads slowly, through a small receive buffer. The response
// should have 10 MB or more, as the kernel holds a few.
func Slow(target string) Load {
	return Load{Name: "SLOW " + target, Do: request{method: "GET", target: target, slow: true}.send}
}

// Silent is a load of connections that never send a byte.
func Silent() Load { return Load{Name: "SILENT", Do: silent, Silent: true} }
