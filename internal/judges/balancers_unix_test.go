//go:build unix

package judges

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// nginx as it is by default: it does not check the backends, and tries the other
// one if a connection fails before the request was sent, or after it if the
// method is idempotent. It opens a connection for each request, unless it is
// asked to keep them.
const nginxConfig = `
daemon off;
%s
pid nginx.pid;
events {}
http {
	access_log off;
	client_body_temp_path temp;
	proxy_temp_path temp;
	fastcgi_temp_path temp;
	uwsgi_temp_path temp;
	scgi_temp_path temp;
	upstream service {
		server %s;
		server %s;
		%s
	}
	server {
		listen %s;
		location / {
			proxy_pass http://service;
			%s
		}
	}
}
`

const keep = "keepalive 16;"

func nginx(keep string) func(*testing.T, string, [2]string) func() []string {
	return func(t *testing.T, addr string, backends [2]string) func() []string {
		path := installed(t, "nginx")
		dir := t.TempDir()
		user, proxy := "", ""
		if os.Getuid() == 0 { // else its workers could not enter the directory
			user = "user root;"
		}
		if keep != "" {
			proxy = `proxy_http_version 1.1; proxy_set_header Connection "";`
		}
		config := fmt.Appendf(nil, nginxConfig, user, backends[0], backends[1], keep, addr, proxy)
		if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), config, 0o600); err != nil {
			t.Fatal(err)
		}
		launch(t, nil, path, "-p", dir, "-c", "nginx.conf", "-e", "stderr")
		eventually(t, "nginx listens", func() bool { return ready(addr) })
		return func() []string { return []string{addr} }
	}
}

// haproxy checks the backends. It shares kept connections among all clients, and
// tries nothing twice, so that each request that a backend turns away is seen.
// Three failures take a backend out and two successes bring it back, as by
// default, but at ten times the pace. In mode tcp it distributes connections, as a
// Kubernetes Service does: a kept one stays with a backend that is not ready.
const haproxyConfig = `
defaults
	mode %s
	timeout connect 2s
	timeout client 20s
	timeout server 20s
	timeout check 2s
	retries 0
	no option redispatch
	http-reuse always
	option httpchk GET /readyz
	default-server check inter %dms fall %d rise 2
frontend web
	bind %s
	default_backend service
backend service
	balance roundrobin
	server a %s
	server b %s
`

func haproxy(mode string) func(*testing.T, string, [2]string) func() []string {
	return func(t *testing.T, addr string, backends [2]string) func() []string {
		path := installed(t, "haproxy")
		file := filepath.Join(t.TempDir(), "haproxy.cfg")
		config := fmt.Appendf(nil, haproxyConfig, mode, checked.Milliseconds(), fall, addr, backends[0], backends[1])
		if err := os.WriteFile(file, config, 0o600); err != nil {
			t.Fatal(err)
		}
		launch(t, nil, path, "-db", "-f", file)
		eventually(t, "haproxy listens", func() bool { return ready(addr) })
		return func() []string { return []string{addr} }
	}
}

// failover is the client's own choice: a backend that was ready at the latest
// check, in turn, and the other one if the connection is refused.
func failover(t *testing.T, _ string, backends [2]string) func() []string {
	var up [2]atomic.Bool
	ctx, stop := context.WithCancel(context.Background())
	var checks sync.WaitGroup
	for i, addr := range backends {
		up[i].Store(true)
		checks.Go(func() {
			tick := time.NewTicker(watched)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				up[i].Store(ready(addr))
			}
		})
	}
	t.Cleanup(func() {
		stop()
		checks.Wait()
	})
	var turn atomic.Int64
	return func() []string {
		i := turn.Add(1) % 2
		if !up[i].Load() && up[1-i].Load() {
			i = 1 - i
		}
		return []string{backends[i], backends[1-i]}
	}
}
