package drain

import (
	"net"
	"testing"
)

// A passed socket is taken for the same address only. An address without a host means a
// socket that listens everywhere, not one of loopback.
func TestListensOn(t *testing.T) {
	tcp := func(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	for _, tt := range []struct {
		socket net.Addr
		addr   string
		want   bool
	}{
		{tcp("127.0.0.1", 80), "127.0.0.1:80", true},
		{tcp("127.0.0.1", 80), "127.0.0.1:81", false},
		{tcp("127.0.0.1", 80), ":80", false},
		{tcp("127.0.0.1", 80), "0.0.0.0:80", false},
		{tcp("127.0.0.2", 80), "127.0.0.1:80", false},
		{tcp("::", 80), ":80", true},
		{tcp("::", 80), "0.0.0.0:80", true},
		{tcp("::", 80), "127.0.0.1:80", false},
		{&net.UnixAddr{Name: "/run/x", Net: "unix"}, "/run/x", true},
		{&net.UnixAddr{Name: "/run/x", Net: "unix"}, "/run/y", false},
	} {
		if got := listensOn(tt.socket, tt.addr); got != tt.want {
			t.Errorf("%v for %s: %v", tt.socket, tt.addr, got)
		}
	}
}
