package judges

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
)

// net/http removes the files of an upload once its handler has returned. A server
// around it must not lose them.
func TestUpload(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	spilled := func() int {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		return len(files)
	}
	s := &site{t: t, handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1 << 10); err != nil {
			t.Error(err)
		}
		if spilled() == 0 {
			t.Error("the upload did not spill to a file")
		}
	})}
	s.start()
	for range 10 {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("file", "file")
		if err != nil {
			t.Fatal(err)
		}
		part.Write(make([]byte, 1<<20))
		form.Close()
		r, err := http.Post("http://"+s.addr+"/", form.FormDataContentType(), &body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	if _, err := s.stop(5 * time.Second); err != nil {
		t.Error(err)
	}
	if n := spilled(); n > 0 {
		t.Errorf("10 uploads left %d files", n)
	}
}

// A stream written for net/http ends when a hook of RegisterOnShutdown says so.
type hooked struct {
	site
	hooks  atomic.Int64
	over   chan struct{}
	within atomic.Int64
	at     time.Time // when the hook ran
}

func newHooked(t *testing.T, settle time.Duration) *hooked {
	h := &hooked{over: make(chan struct{})}
	h.site = site{t: t, settle: settle, handler: h, prepare: func(web *drain.Server) {
		web.HTTP.RegisterOnShutdown(func() {
			if h.hooks.Add(1) == 1 {
				h.at = time.Now()
				close(h.over)
			}
		})
	}}
	h.start()
	return h
}

func (h *hooked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "hello ")
	http.NewResponseController(w).Flush()
	h.within.Add(1)
	select {
	case <-h.over:
		io.WriteString(w, "goodbye")
	case <-r.Context().Done():
	}
}

// stream opens a stream, and returns what it got once it has ended.
func (h *hooked) stream() (got func() string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var body []byte
	var all sync.WaitGroup
	all.Go(func() {
		r, err := client.Get("http://" + h.addr + "/")
		if err != nil {
			h.t.Error(err)
			return
		}
		defer r.Body.Close()
		body, _ = io.ReadAll(r.Body)
	})
	eventually(h.t, "the stream is open", func() bool { return h.within.Load() > 0 })
	return func() string { all.Wait(); return string(body) }
}

// The hooks run when the gate is shut, so that the streams that they end are not cut at
// the end of the budget; not before, as the service is still in use while it settles.
func TestRegisterOnShutdown(t *testing.T) {
	const budget, settle = 4 * time.Second, 400 * ms
	for _, settle := range []time.Duration{0, settle} {
		t.Run("settling for "+settle.String(), func(t *testing.T) {
			t.Parallel()
			h := newHooked(t, settle)
			got := h.stream()
			shut := make(chan time.Time, 1)
			go func() { // until the gate is shut, which the stop below does
				for h.gate.Enter() {
					h.gate.Leave()
					time.Sleep(ms)
				}
				shut <- time.Now()
			}()
			begin := time.Now()
			r, err := h.stop(budget)
			if err != nil || r.Took > settle+budget/4 || len(h.gate.Cut()) > 0 {
				t.Errorf("the stop took %v, cut %q: %v", r.Took, h.gate.Cut(), err)
			}
			if s := got(); s != "hello goodbye" {
				t.Errorf("the stream got %q", s)
			}
			h.site.web.Step().Kill()
			if n := h.hooks.Load(); n != 1 {
				t.Fatalf("the hook ran %d times", n)
			}
			if late := h.at.Sub(<-shut); late > budget/20 || h.at.Sub(begin) < settle {
				t.Errorf("the hook ran %v after the gate was shut, %v after the stop began", late, h.at.Sub(begin))
			}
		})
	}
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		h := newHooked(t, 0)
		got := h.stream()
		h.site.web.Step().Kill()
		s := got()
		eventually(t, "the hook runs", func() bool { return h.hooks.Load() > 0 })
		if cut := h.gate.Cut(); (s == "hello goodbye") != (len(cut) == 0) { // it may end before it is cut
			t.Errorf("the stream got %q, Cut: %q", s, cut)
		}
	})
}
