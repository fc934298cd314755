//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The gateway is killed twice under a listener, and under others that are not connected
// both times. The third gateway refuses that listener alone, and logs it once.
func TestSuspect(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	addr, admin, state := freeAddr(t), freeAddr(t), t.TempDir()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(url string) (status int, answer *http.Response) {
		r, err := client.Get(url)
		if err != nil {
			return 0, nil
		}
		t.Cleanup(func() { r.Body.Close() }) // a stream stays open until then
		return r.StatusCode, r
	}
	start := func() (*exec.Cmd, *strings.Builder) {
		log := new(strings.Builder)
		cmd := exec.Command(bin, "-addr", addr, "-admin", admin, "-state", state, "-settle", "100ms")
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if status, _ := ask("http://" + admin + "/readyz"); status == http.StatusOK {
				return cmd, log
			} else if time.Since(begin) > 30*time.Second {
				t.Fatal("not ready")
			}
		}
	}
	events := func(session string) (int, *http.Response) {
		return ask("http://" + addr + "/events?" + url.Values{"session": {session}}.Encode())
	}
	for i := range 2 {
		cmd, _ := start()
		for _, session := range []string{"always", fmt.Sprint("only ", i)} {
			if status, _ := events(session); status != http.StatusOK {
				t.Fatal(session, status)
			}
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
	cmd, log := start()
	for range 3 {
		if status, r := events("always"); status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			t.Error(status)
		}
	}
	for _, session := range []string{"only 0", "only 1", "new", ""} {
		if status, _ := events(session); status != http.StatusOK {
			t.Error(session, status)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if strings.Count(log.String(), "session suspected") != 1 || !strings.Contains(log.String(), `"session":"always"`) {
		t.Error(log)
	}
}
