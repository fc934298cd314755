//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// signalOurs returns the time from a signal to the end of the context, n times.
func signalOurs(n int) (sum time.Duration) {
	for range n {
		ctx, stop := lifecycle.WithSignals(context.Background(), syscall.SIGUSR1)
		runtime.Gosched()
		begin := time.Now()
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		<-ctx.Done()
		sum += time.Since(begin)
		stop()
	}
	return sum
}

func signalPeer(n int) (sum time.Duration) {
	for range n {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		runtime.Gosched()
		begin := time.Now()
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		<-c
		sum += time.Since(begin)
		signal.Stop(c)
	}
	return sum
}

var signals = []comparison{
	{name: "signal to Done, against a signal.Notify channel", bar: 1.2, ours: signalOurs, peer: signalPeer, n: 200},
}
