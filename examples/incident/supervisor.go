package main

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// supervise stands for systemd in both worlds. It keeps the gateway running, and
// restarts it at a line on its standard input, and 100 ms after it failed by itself
// (Restart=on-failure). At the end of its input it stops the gateway and returns.
func (r role) supervise(log *slog.Logger) int {
	ctx, stop := lifecycle.WithSignals(context.Background())
	defer stop()
	ctx, quit := context.WithCancel(ctx)
	jobs := make(chan struct{})
	g := lifecycle.Group{Logger: log}
	g.Drain.Budget = r.scaled(drainBudget) + 10*time.Second
	go func() { // ends with the input, at the latest with the process
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			jobs <- struct{}{}
		}
		quit()
	}()
	g.Go("gateway", func(ctx context.Context) error { return r.keep(ctx, log, jobs) })
	return lifecycle.ExitCode(g.Run(ctx))
}

// keep runs one gateway after the other until ctx ends.
func (r role) keep(ctx context.Context, log *slog.Logger, jobs <-chan struct{}) error {
	r.Name = gateway
	for {
		c, stdin, err := r.command(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			return err
		}
		log.Info("started gateway", "of", gateway, "child", c.Process.Pid)
		probing, probed := context.WithCancel(context.Background())
		var probe sync.WaitGroup
		probe.Go(func() { r.probe(probing, log, c.Process.Pid) })
		exited := make(chan error, 1)
		go func() { exited <- c.Wait() }() // ends below, or is killed there
		asked := true
		select {
		case <-exited:
			asked = false
		case <-jobs:
			r.stop(log, c.Process, exited)
		case <-ctx.Done():
			r.stop(log, c.Process, exited)
		}
		stdin.Close()
		probed()
		probe.Wait()
		log.Info("exited", "of", gateway, "child", c.Process.Pid, "status", c.ProcessState.ExitCode(), "signal", endedBy(c.ProcessState), "asked", asked)
		switch {
		case ctx.Err() != nil:
			return nil
		case !asked && c.ProcessState.Success():
			return nil // on-failure leaves it so
		case !asked:
			time.Sleep(restartDelay)
		}
	}
}

// probe asks the gateway whether it is ready until it is, or ctx ends.
func (r role) probe(ctx context.Context, log *slog.Logger, pid int) {
	for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.Addr+"/readyz", nil)
		if err != nil {
			panic(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			log.Info("gateway ready", "of", gateway, "child", pid)
			return
		}
	}
}

// stop asks the gateway to stop, and kills it if it takes longer than its budget and a
// margin, as TimeoutStopSec would.
func (r role) stop(log *slog.Logger, p *os.Process, exited <-chan error) {
	log.Info("stopping gateway", "of", gateway, "child", p.Pid, "signal", syscall.SIGTERM.String())
	p.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(r.scaled(drainBudget) + 5*time.Second):
		log.Error("gateway does not stop", "of", gateway, "child", p.Pid, "signal", syscall.SIGKILL.String())
		p.Kill()
		<-exited
	}
}
