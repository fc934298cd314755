package restart

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"unicode"
)

// The crash output is the file that Go's runtime writes when it ends the process. Its
// first line is ours and says which run it is of, so an older file says nothing.
const (
	crashSuffix = ".crash"
	crashWord   = "evenkeel run "
	crashHead   = 2 << 10 // how much of it is logged
)

var errCrashForeign = errors.New("it is not a crash output, so it is left alone; remove it, or move the ledger")

func crashTitle(run record) string { return fmt.Sprintf("%s%d %x\n", crashWord, run.run, run.salt) }

// setCrash makes the runtime write to a new file. It does not write to the old one
// again, which another process may still have open.
func setCrash(path string, run record) error {
	path += crashSuffix
	if info, err := os.Lstat(path); err == nil {
		if !info.Mode().IsRegular() || info.Size() > 0 && !strings.HasPrefix(headOf(path, len(crashWord)), crashWord) {
			return fmt.Errorf("%s: %w", path, errCrashForeign)
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(crashTitle(run))
	if err == nil {
		err = debug.SetCrashOutput(f, debug.CrashOptions{}) // which duplicates f
	}
	return cmp.Or(err, f.Close())
}

// headOf returns the first n bytes of a regular file, or what it has of them.
func headOf(path string, n int) string {
	f, err := openFile(path, os.O_RDONLY)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, int64(n)))
	return string(b)
}

// readCrash returns what the runtime wrote first when it ended the run, or "".
func readCrash(path string, run record) string {
	title := crashTitle(run)
	text, ok := strings.CutPrefix(headOf(path+crashSuffix, len(title)+crashHead), title)
	if !ok {
		return ""
	}
	return strings.TrimSpace(strings.ToValidUTF8(text, "?"))
}

// firstLine returns as much of the first line as a record has room for.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	line = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, line)
	return strings.ToValidUTF8(line[:min(len(line), mostCrash)], "")
}
