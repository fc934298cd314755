package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// requestsCPU returns the CPU time, as the kernel counts it, that a server in a child
// process takes for n requests on 64 kept connections.
func requestsCPU(server string) func(n int) time.Duration {
	return func(n int) time.Duration {
		const conns = 64
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), childEnv+"="+server)
		c.Stderr = os.Stderr
		stdin, err := c.StdinPipe()
		must(err)
		stdout, err := c.StdoutPipe()
		must(err)
		must(c.Start())
		addr, err := bufio.NewReader(stdout).ReadString('\n')
		must(err)
		var clients sync.WaitGroup
		for range conns {
			clients.Go(func() {
				conn, err := net.Dial("tcp", strings.TrimSpace(addr))
				must(err)
				defer conn.Close()
				answer := make([]byte, 1024)
				for range n / conns {
					io.WriteString(conn, "GET /items/17 HTTP/1.1\r\nHost: x\r\n\r\n")
					_, err := conn.Read(answer)
					must(err)
				}
			})
		}
		clients.Wait()
		stdin.Close()
		must(c.Wait())
		return c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	}
}

// serve is the child of requestsCPU. It ends with its standard input.
func serve(with func(*http.Server, net.Listener)) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	web := okServer()
	fmt.Println(l.Addr())
	go with(web, l)
	io.Copy(io.Discard, os.Stdin)
	web.Close()
}

func okServer() *http.Server {
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })}
}

func bareServer(web *http.Server, l net.Listener) { web.Serve(l) }

func drainServer(web *http.Server, l net.Listener) {
	(&drain.Server{HTTP: web}).Serve(context.Background(), l)
}
