package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A dialect writes the lines of a program under load, with a stop now and then.
type dialect struct {
	name string
	line func(w *bufio.Writer, r *rand.Rand, at time.Time, n int)
	stop string // for the time and a pid
}

var dialects = []dialect{
	{"slog", func(w *bufio.Writer, r *rand.Rand, at time.Time, n int) {
		fmt.Fprintf(w, `{"time":"%s","level":"INFO","msg":"request","pid":%d,"who":"web","session":"s%d","method":"GET","path":"/api/v1/items/%d","status":200,"took":%d,"remote":"10.0.0.%d"}`+"\n",
			at.Format(time.RFC3339Nano), 4000+n/50000, r.IntN(300), r.IntN(1e6), r.IntN(1e8), r.IntN(255))
	}, `{"time":"%s","level":"INFO","msg":"stop","pid":%d,"who":"web","signal":"terminated"}`},
	{"journal", func(w *bufio.Writer, r *rand.Rand, at time.Time, n int) {
		fmt.Fprintf(w, `{"__CURSOR":"s=705ef3e8975b4b57b358f0416833d5f5;i=%x","__REALTIME_TIMESTAMP":"%d","PRIORITY":"6","_UID":"0","_COMM":"web","_EXE":"/usr/bin/web","_CMDLINE":"/usr/bin/web -addr :8080","_SYSTEMD_CGROUP":"/system.slice/web.service","SYSLOG_IDENTIFIER":"web","_PID":"%d","_SYSTEMD_UNIT":"web.service","_HOSTNAME":"host","MESSAGE":"GET /api/v1/items/%d 200 in %d us from 10.0.0.%d"}`+"\n",
			n, at.UnixMicro(), 4000+n/50000, r.IntN(1e6), r.IntN(1e6), r.IntN(255))
	}, ""},
	{"nginx's errors", func(w *bufio.Writer, r *rand.Rand, at time.Time, n int) {
		fmt.Fprintf(w, "%s [error] 77#77: *%d open() \"/srv/items/%d\" failed (2: No such file or directory), client: 10.0.0.%d, server: _, request: \"GET /items/%d HTTP/1.1\"\n",
			at.Format("2006/01/02 15:04:05"), n, r.IntN(1e6), r.IntN(255), r.IntN(1e6))
	}, ""},
	{"Python", func(w *bufio.Writer, r *rand.Rand, at time.Time, n int) {
		fmt.Fprintf(w, "%s INFO gateway.run: session %d asked for model %d, %d tokens in %d ms\n", at.Format("2006-01-02 15:04:05,000"), r.IntN(300), r.IntN(9), r.IntN(1e4), r.IntN(1e4))
	}, ""},
}

// write writes so many bytes of the dialect, the same each time.
func (d dialect) write(to io.Writer, size int) error {
	w := bufio.NewWriterSize(to, 1<<20)
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 5, 20, 0, 0, 0, 0, time.UTC)
	written := &counter{}
	out := bufio.NewWriterSize(io.MultiWriter(w, written), 1<<16)
	for n := 0; written.n < size; n++ {
		at = at.Add(time.Duration(r.IntN(40)) * time.Millisecond)
		d.line(out, r, at, n)
		if d.stop != "" && n%50000 == 49999 {
			fmt.Fprintf(out, d.stop+"\n", at.Format(time.RFC3339Nano), 4000+n/50000)
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return w.Flush()
}

type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

// timelines are the bars of reading logs. CPU time is what counts: of our program
// on a file of 300 MB, and of jq -c . on the same.
func timelines() (list []check) {
	for _, d := range dialects {
		list = append(list, check{"timeline: " + d.name, func() (string, bool) { return d.speed(300 << 20) }})
	}
	return append(list, check{"timeline: memory for 2 GB", func() (string, bool) { return dialects[0].memory(2 << 30) }})
}

// built returns the library's command, in a folder that is to be removed.
func built() (program, dir string, err error) {
	if dir, err = os.MkdirTemp("", "timeline-*"); err != nil {
		return "", "", err
	}
	program = filepath.Join(dir, "evenkeel")
	c := exec.Command("go", "build", "-o", program, "github.com/evenkeel-go/evenkeel/cmd/evenkeel")
	if out, err := c.CombinedOutput(); err != nil {
		return "", dir, fmt.Errorf("%w: %s", err, out)
	}
	return program, dir, nil
}

func (d dialect) speed(size int) (saw string, ok bool) {
	program, dir, err := built()
	defer os.RemoveAll(dir)
	if err != nil {
		return err.Error(), false
	}
	name := filepath.Join(dir, "log")
	f, err := os.Create(name)
	if err == nil {
		err = d.write(f, size)
		f.Close()
	}
	if err != nil {
		return err.Error(), false
	}
	ours, err := cpu(exec.Command(program, "timeline", name))
	if err != nil {
		return err.Error(), false
	}
	saw = fmt.Sprintf("%.0f MB/s of CPU", float64(size)/1e6/ours.Seconds())
	if jq, err := exec.LookPath("jq"); strings.HasPrefix(d.name, "slog") || d.name == "journal" {
		if err != nil {
			return saw + "; skipped: there is no program named jq", true
		}
		peer, err := cpu(exec.Command(jq, "-c", ".", name))
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%s, %.1f times as fast as jq -c . (at least 5)", saw, peer.Seconds()/ours.Seconds()), peer >= 5*ours
	}
	return saw + " (at least 100)", float64(size)/1e6 >= 100*ours.Seconds()
}

// cpu returns the CPU time of a program.
func cpu(c *exec.Cmd) (time.Duration, error) {
	if err := c.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w", c.Path, err)
	}
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime(), nil
}

func (d dialect) memory(size int) (saw string, ok bool) {
	if runtime.GOOS != "linux" {
		return "skipped: only Linux tells the most memory that a process had, in kilobytes", true
	}
	program, dir, err := built()
	defer os.RemoveAll(dir)
	if err != nil {
		return err.Error(), false
	}
	c := exec.Command(program, "timeline")
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return err.Error(), false
	}
	if err = d.write(in, size); err == nil {
		err = in.Close()
	}
	if done := c.Wait(); err == nil {
		err = done
	}
	if err != nil {
		return err.Error(), false
	}
	mb := float64(maxRSS(c.ProcessState)) / 1e6
	return fmt.Sprintf("%.0f MB (at most 64)", mb), mb <= 64
}
