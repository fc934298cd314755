package restart

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A ledger with no readable record is copied as it is, and emptied in place:
// Windows renames no open file, and a rename would give up the lock. A half-made
// ledger is used, and a file that never was a ledger is left alone.
func TestLedgerCorrupt(t *testing.T) {
	damaged := full()
	for i := range slots {
		damaged[i*slotSize+100] ^= 1
	}
	damaged[7]++ // one has no magic either
	for _, tt := range []struct {
		name string
		file []byte
		want string // copied or foreign; "": it is used
	}{
		{"empty", nil, ""},
		{"half made", make([]byte, 5000), ""},
		{"made", make([]byte, ringSize), ""},
		{"damaged", damaged, "copied"},
		{"damaged and short", damaged[:1000], "copied"},
		{"damaged and long", append(bytes.Clone(damaged), 1), "copied"},
		{"noise", bytes.Repeat([]byte("noise"), 5000)[:ringSize], "foreign"},
		{"short", []byte("a page of notes"), "foreign"},
		{"zeros, one too many", make([]byte, ringSize+1), "foreign"},
		{"long", bytes.Repeat([]byte("noise"), 5000), "foreign"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if err := os.WriteFile(w.path, tt.file, 0o600); err != nil {
					t.Fatal(err)
				}
				before, err := os.Stat(w.path)
				if err != nil {
					t.Fatal(err)
				}
				l, took := w.begin(t)
				l.End(errRun)
				log := w.log.String()
				here, err := os.ReadFile(w.path)
				copied, err2 := os.ReadFile(w.path + ".corrupt")
				switch tt.want {
				case "":
					if took != 0 || strings.Contains(log, "unavailable") || err2 == nil {
						t.Errorf("waits %v, copy: %v; %s", took, err2, log)
					}
				case "copied":
					if took != time.Second || err2 != nil || !bytes.Equal(copied, tt.file) || !strings.Contains(log, filepath.Base(w.path)+".corrupt") {
						t.Errorf("waits %v, copy: %v; %s", took, err2, log)
					}
					if now, err := os.Stat(w.path); err != nil || !os.SameFile(before, now) {
						t.Error("the lock has gone with the file", err)
					}
				case "foreign":
					if took != time.Second || err != nil || !bytes.Equal(here, tt.file) || err2 == nil || strings.Count(log, "set Path to") != 1 || !strings.Contains(log, "path="+w.path) {
						t.Errorf("waits %v, %v, copy: %v; %s", took, err, err2, log)
					}
					if _, err := l.Table(); !errors.Is(err, errForeign) || !strings.Contains(err.Error(), w.path) {
						t.Error(err)
					}
					return
				}
				if l, took = w.begin(t); took != time.Second || l.run.seq != 3 {
					t.Errorf("then waits %v, %+v", took, l.run)
				}
			})
		})
	}
}

// A copy never replaces an earlier one. After ten copies, a damaged ledger stays.
// A symbolic link to it stays a link.
func TestLedgerCorruptAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		target := w.path + ".target"
		if err := os.Symlink(target, w.path); err != nil {
			t.Skip("skipped: no symbolic links here:", err)
		}
		damage := func(n byte) []byte { return append([]byte(head), n) }
		for n := range byte(12) {
			w.log.Reset()
			if err := os.WriteFile(target, damage(n), 0o600); err != nil {
				t.Fatal(err)
			}
			w.begin(t)
			if want := n >= 10; want != strings.Contains(w.log.String(), "remove them") {
				t.Errorf("ledger %d: %s", n, &w.log)
			}
		}
		for n := range byte(10) {
			name := target + ".corrupt"
			if n > 0 {
				name += "." + strconv.Itoa(int(n))
			}
			if b, err := os.ReadFile(name); !bytes.Equal(b, damage(n)) {
				t.Error(name, b, err)
			}
		}
		if b, err := os.ReadFile(target); !bytes.Equal(b, damage(11)) {
			t.Error(b, err)
		}
		if info, err := os.Lstat(w.path); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Error("the link is gone", err)
		}
	})
}

// If a ledger has another length, all readable records count, and it gets its length
// back.
func TestLedgerLength(t *testing.T) {
	for _, size := range []int{slotSize*40 + 17, ringSize - 1, ringSize + 1, 3 * ringSize} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.fail(t, 4)
			if err := os.Truncate(w.path, int64(size)); err != nil {
				t.Fatal(err)
			}
			w.log.Reset()
			l, took := w.begin(t)
			info, err := os.Stat(w.path)
			if took != 8*time.Second || l.run.seq != 9 || strings.Contains(w.log.String(), "unavailable") || err != nil || info.Size() != ringSize {
				t.Errorf("size %d: waits %v, %+v, %v; %s", size, took, l.run, err, &w.log)
			}
		})
	}
}
