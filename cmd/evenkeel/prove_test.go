//go:build unix && !aix && !solaris

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

// server exits at once when it gets a signal.
const server = `package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	addr := flag.String("addr", "", "")
	flag.Parse()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(*addr, nil))
		os.Exit(1)
	}()
	<-signals
}
`

func TestProve(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(server), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "server")
	if out, err := exec.Command("go", "build", "-o", bin, filepath.Join(dir, "main.go")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	prove := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		status := run(append([]string{"prove"}, args...), nil, &out, &errs)
		return status, out.String(), errs.String()
	}
	page := filepath.Join(dir, "page.html")
	status, out, progress := prove("-load", "POST /upload 1MB", "-lives", "1", "-html", page, "--", bin, "-addr", "{addr}")
	for _, part := range []string{"admitted work answered      no", "SIGTERM in the middle of UPLOAD /upload; seed 0"} {
		if status != 1 || !strings.Contains(out, part) {
			t.Fatalf("status %d, and no %q in\n%s%s", status, part, out, progress)
		}
	}
	if !strings.Contains(progress, "life 1 of 1, seed 0, SIGTERM in the middle of UPLOAD /upload") {
		t.Errorf("progress: %s", progress)
	}
	if html, err := os.ReadFile(page); err != nil || !bytes.Contains(html, []byte("</html>")) {
		t.Errorf("page: %v, %d bytes", err, len(html))
	}

	status, out, _ = prove("-json", "-load", "POST /upload 1MB", "-lives", "1", "-except", "admitted work answered", "-except", "exit status", "--", bin, "-addr", "{addr}")
	var result stoptest.Result
	if err := json.Unmarshal([]byte(out), &result); err != nil || status != 0 || result.Of(stoptest.WorkAnswered).Verdict != stoptest.NotPromised {
		t.Errorf("status %d, %v: %s", status, err, out)
	}

	for _, tt := range []struct {
		says string
		args []string
	}{
		{"no program", nil},
		{"executable file not found", []string{"--", "no-such-program"}},
		{"flag provided but not defined", []string{"-none"}},
		{"it needs a target", []string{"-load", "GET", "--", bin}},
		{"it begins with GET, POST", []string{"-load", "PUT /", "--", bin}},
		{`no signal "NONE"`, []string{"-signal", "none", "--", bin}},
		{"the promises are those", []string{"-except", "none", "--", bin}},
		{"it must be HOST:PORT", []string{"-addr", "80", "--", bin}},
		{"was not ready within 1s", []string{"-start", "1s", "-ready", "http://{admin}/", "--", bin, "-addr", "{addr}"}},
	} {
		if status, out, errs := prove(tt.args...); status != 2 || !strings.Contains(strings.ToLower(out+errs), strings.ToLower(tt.says)) {
			t.Errorf("evenkeel prove %q: status %d, and no %q in %s%s", tt.args, status, tt.says, out, errs)
		}
	}
}

func TestLoadOf(t *testing.T) {
	for s, name := range map[string]string{
		"GET /":                     "GET /",
		"get h2c://{addr}/x":        "GET h2c://{addr}/x",
		"POST /upload 1MB":          "UPLOAD /upload",
		"POST /messages text=a":     "POST /messages",
		`POST /messages {"a": "b"}`: "POST /messages",
		"EVENTS /events bye":        "EVENTS /events",
		"SLOW /big":                 "SLOW /big",
		"SILENT":                    "SILENT",
	} {
		if l, err := loadOf(s); err != nil || l.Name != name || l.Do == nil {
			t.Errorf("%s: %s, %v", s, l.Name, err)
		}
	}
}
