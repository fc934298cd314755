package main

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// This file is the incident: the same programs as they were. Do not copy.

// gatewayBefore works in its signal handler: it cuts every stream and exits.
func (r role) gatewayBefore(log *slog.Logger) int {
	srv := &http.Server{Addr: r.Addr, Handler: r.routes(log, func(http.ResponseWriter, *http.Request) {})}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		s := <-signals
		log.Info("shut down", "signal", s.String())
		srv.Close()
		os.Exit(0)
	}()
	err := srv.ListenAndServe()
	if err == http.ErrServerClosed {
		select {}
	}
	log.Error("gateway failed", "error", err)
	return 1
}

// A generator is one of prompt_toolkit's: closing it while it runs raises an
// exception.
type generator struct{ running atomic.Bool }

func (g *generator) run(quit <-chan struct{}) {
	for {
		select {
		case <-quit:
			return
		case <-time.After(10 * time.Millisecond):
			g.running.Store(true)
		}
	}
}

func (g *generator) close() {
	if g.running.Load() {
		panic("RuntimeError: aclose(): asynchronous generator is already running")
	}
}

// cliBefore imports a module in its signal handler, would close its generators
// from there, and reconnects without a delay.
func (r role) cliBefore(log *slog.Logger) int {
	quit := make(chan struct{})
	var work sync.WaitGroup
	generators := make([]generator, streams)
	for i := range generators {
		work.Go(func() {
			log.Info("stream opened", "n", i)
			generators[i].run(quit)
			log.Info("stream closed", "n", i)
		})
	}
	for i := range tasks {
		work.Go(func() {
			log.Info("task began", "n", i)
			<-quit
			log.Info("task ended", "n", i)
		})
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT)
	go func() {
		s := <-signals
		log.Info("interrupted", "signal", s.String())
		module, err := os.ReadFile("tools/voice_mode.py")
		if err != nil {
			panic("KeyboardInterrupt: " + err.Error())
		}
		log.Info("imported", "bytes", len(module))
		for i := range generators {
			generators[i].close()
		}
		os.Exit(130)
	}()

	c := &client{role: r, log: log}
	ctx, leave := context.WithCancel(context.Background())
	work.Go(func() {
		for ctx.Err() == nil {
			c.hold(ctx)
		}
	})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		go c.ask(ctx)
	}
	log.Info("leaving") // no interrupt: this way always worked
	leave()
	close(quit)
	work.Wait()
	return 0
}
