package timeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// keys presses the keys in a page, and leaves in it what a person would see. It
// runs beside the page's own script.
const keys = `<script>
const seen = [], press = key => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const note = () => seen.push(document.activeElement.dataset.event + (card.hidden ? "-" : "+"));
const first = document.querySelector(".mark[tabindex='0']");
if (first && first.getClientRects().length) {
  first.focus();
  if (!document.hasFocus()) first.dispatchEvent(new FocusEvent("focus")); // a busy machine gives the window its focus late
  note();
  for (const key of ["ArrowRight", "ArrowUp", "ArrowDown", "End", "Home"]) { press(key); note() }
  press("Enter"); seen.push(document.activeElement.id);
  press("Enter"); note(); press("Escape"); seen.push(card.hidden);
  document.querySelector(".mark").dispatchEvent(new MouseEvent("mouseenter")); seen.push(card.querySelector(".what").textContent);
}
const wide = document.documentElement.scrollWidth > innerWidth;
document.body.dataset.seen = seen.join(" ") + (wide ? " too wide" : "");
</script>`

// In a browser the page shows as many chains, events and links as the text, takes
// keys, is no wider than the window, and has nothing to complain of.
func TestChromium(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("skipped: there is no program named chromium")
	}
	for _, tt := range []struct {
		files         string
		width, height int
		seen          string
	}{
		{"incident/*.jsonl", 1280, 900, "1+ 2+ 1+ 2+ 13+ 1+ e1 1+ true CLI process crashed"},
		{"incident/*.jsonl", 390, 844, ""},
		{"before.jsonl", 1280, 900, "1+ 2+ 1+ 2+ "},
		{"after.jsonl", 1280, 900, "1+ 2+ 1+ 2+ "},
		{"journal.json", 1280, 900, "1+ "},
		{"", 1280, 900, ""},
	} {
		t.Run(fmt.Sprint(tt.files, tt.width), func(t *testing.T) {
			tl := Read()
			if tt.files != "" {
				tl = read(t, tt.files)
			}
			var page bytes.Buffer
			if err := tl.WriteHTML(&page); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "page.html")
			if err := os.WriteFile(file, append(page.Bytes(), keys...), 0o666); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var dom, log bytes.Buffer
			c := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
				"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
				"--enable-logging=stderr", fmt.Sprintf("--window-size=%d,%d", tt.width, tt.height), "--dump-dom", "file://"+file)
			c.Stdout, c.Stderr = &dom, &log
			c.WaitDelay = 5 * time.Second
			if err := c.Run(); err != nil {
				t.Fatalf("%v\n%s", err, &log)
			}
			if m := regexp.MustCompile(`.*CONSOLE.*`).FindAllString(log.String(), -1); m != nil {
				t.Errorf("the console says\n%s", strings.Join(m, "\n"))
			}
			body := dom.String()
			if seen := regexp.MustCompile(`data-seen="([^"]*)"`).FindStringSubmatch(body); seen == nil || !strings.HasPrefix(seen[1], tt.seen) || strings.Contains(seen[1], "wide") {
				t.Errorf("seen %q, want %q", seen, tt.seen)
			}
			events, links := 0, 0
			for _, c := range tl.chains {
				events += len(c.Events)
				for _, e := range c.Events[1:] {
					links += len(e.Causes)
					if !strings.Contains(body, e.Causes[0].Rule) {
						t.Errorf("a link does not name its rule: %s", e.Causes[0].Rule)
					}
				}
			}
			for part, want := range map[string]int{`data-event="`: events, `data-row="`: events, `data-from="`: links, `class="chain`: len(tl.chains)} {
				if got := strings.Count(body, part); got != want {
					t.Errorf("%d of %s, want %d", got, part, want)
				}
			}
			if _, sum, _ := strings.Cut(body, `id="summary">`); !strings.HasPrefix(written(t, tl), sum[:strings.Index(sum, "<")]+"\n") {
				t.Errorf("summary %.100s", sum)
			}
		})
	}
}

// The README's picture: go test -run Picture -update makes it anew.
func TestPicture(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil || !*update {
		t.Skip("skipped: without -update, or a program named chromium, the picture stays as it is")
	}
	file := filepath.Join(t.TempDir(), "page.html")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(read(t, "before.jsonl").WriteHTML(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+t.TempDir(),
		"--window-size=1240,810", "--screenshot="+filepath.Join("..", "..", "docs", "timeline.png"), "file://"+file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
