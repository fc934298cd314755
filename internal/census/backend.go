package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// newBackend serves what proxies forward to: a slow answer to each request, whose head
// comes first. It serves until the listener is closed.
func newBackend() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // ends with l
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		http.NewResponseController(w).Flush()
		time.Sleep(300 * time.Millisecond)
		fmt.Fprintln(w, "hello")
	}))
	return l, nil
}
