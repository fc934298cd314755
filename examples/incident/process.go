package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"
)

// A role describes one process of the replay to itself, in roleEnv.
type role struct {
	Name    string // supervisor, gateway or cli
	World   string // before or after
	Session string // of a cli
	Addr    string // of the gateway
	Dir     string // of the gateway's ledger, after
	Poison  string // the session that the gateway does not survive; "" if none
	Scale   float64
}

const roleEnv = "EVENKEEL_INCIDENT_ROLE"

// scaled turns a time of the incident into one of the replay.
func (r role) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / r.Scale)
}

// play runs the role of this process, and returns its exit status. It reports false if
// there is none: then this process is the replay itself.
func play() (int, bool) {
	text, ok := os.LookupEnv(roleEnv)
	if !ok {
		return 0, false
	}
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		panic(err)
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("pid", os.Getpid(), "who", r.Name)
	if r.Session != "" {
		log = log.With("session", r.Session)
	}
	log.Info("began")
	switch r.Name + " " + r.World {
	case "supervisor before", "supervisor after":
		return r.supervise(log), true
	case "gateway before":
		go orphaned()
		return r.gatewayBefore(log), true
	case "gateway after":
		go orphaned()
		return r.gatewayAfter(log), true
	case "cli before":
		return r.cliBefore(log), true
	default:
		return r.cliAfter(log), true
	}
}

// orphaned ends the process when its parent is gone, which ends its standard input. So
// nothing outlives the replay, however it ends.
func orphaned() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

// command prepares a process of the replay. The end of ctx kills it.
func (r role) command(ctx context.Context) (*exec.Cmd, io.WriteCloser, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, nil, err
	}
	c := exec.CommandContext(ctx, self)
	c.Env = append(os.Environ(), roleEnv+"="+string(text))
	c.SysProcAttr = ownGroup
	stdin, err := c.StdinPipe()
	return c, stdin, err
}
