package evenkeel_test

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "github.com/evenkeel-go/evenkeel"

// A tree is this repository as a module proxy has it after a release: each module
// that is published, at one version.
type tree struct {
	proxy, version string
	modules        map[string]string // path to folder
}

// publish makes the tree. The version is the one of the root that the nested
// modules require.
func publish(t *testing.T) tree {
	tr := tree{proxy: t.TempDir(), modules: map[string]string{}}
	require := regexp.MustCompile(`(?m)^\s*(?:require )?` + root + ` (v\S+)`)
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "go.mod" || strings.HasPrefix(name, "internal") {
			return err
		}
		mod, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		path, _, _ := strings.Cut(strings.TrimPrefix(string(mod), "module "), "\n")
		tr.modules[path] = filepath.Dir(name)
		if path == root {
			if bytes.Contains(mod, []byte("replace")) {
				t.Errorf("%s: go run %s/...@version refuses a replace", name, root)
			}
			return nil
		}
		v := require.FindStringSubmatch(string(mod))
		switch {
		case v == nil || strings.HasPrefix(v[1], "v0.0.0"):
			t.Fatalf("%s does not require a tagged %s", name, root)
		case tr.version == "":
			tr.version = v[1]
		case tr.version != v[1]:
			t.Fatalf("%s requires %s %s, other modules require %s", name, root, v[1], tr.version)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, dir := range tr.modules {
		tr.put(t, path, dir)
	}
	return tr
}

// put writes the four files that a proxy has for a version.
func (tr tree) put(t *testing.T, path, dir string) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, nested := os.Stat(filepath.Join(name, "go.mod"))
			if name != dir && nested == nil || entry.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || !entry.Type().IsRegular() || entry.Name() == ".git" {
			return err
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		w, err := z.Create(path + "@" + tr.version + "/" + filepath.ToSlash(rel))
		if err == nil {
			_, err = w.Write(source)
		}
		return err
	})
	if err == nil {
		err = z.Close()
	}
	mod, readErr := os.ReadFile(filepath.Join(dir, "go.mod"))
	at := filepath.Join(tr.proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	for name, content := range map[string][]byte{
		"list":               []byte(tr.version + "\n"),
		tr.version + ".info": []byte(`{"Version":"` + tr.version + `","Time":"2026-01-01T00:00:00Z"}`),
		tr.version + ".mod":  mod,
		tr.version + ".zip":  b.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(at, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func fileURL(path string) string { return "file:///" + strings.TrimPrefix(filepath.ToSlash(path), "/") }

// A stranger can get each published module and install each command of the root,
// with nothing but a proxy that has them. Modules of third parties come from this
// machine's module cache, and only if it lacks them from the network.
func TestRelease(t *testing.T) {
	if os.Getenv("EVENKEEL_RELEASE") == "" {
		t.Skip("skipped: it may download what nested modules need; EVENKEEL_RELEASE=1 runs it, and .ci/run does")
	}
	out, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, proxy, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	tr := publish(t)
	env := append(os.Environ(), "GOWORK=off", "GOMODCACHE="+t.TempDir(), "GOBIN="+t.TempDir(),
		"GOFLAGS=-modcacherw -trimpath -buildvcs=false -mod=mod", // trimpath: so that the build cache has what an earlier run built
		"GOSUMDB=off", // nothing that was downloaded is run
		"GOPROXY="+fileURL(tr.proxy)+","+fileURL(filepath.Join(cache, "cache", "download"))+","+proxy)
	run := func(t *testing.T, dir string, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), "go", args...)
		c.Dir, c.Env = dir, env
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for path := range tr.modules {
		t.Run(strings.TrimPrefix(path, "github.com/"), func(t *testing.T) {
			dir := t.TempDir()
			run(t, dir, "mod", "init", "example.com/stranger")
			run(t, dir, "get", path+"@"+tr.version)
			run(t, dir, "build", path+"/...")
			for _, pkg := range strings.Split(run(t, dir, "list", "-f", `{{.ImportPath}} {{.Name}} {{join .Imports " "}}`, path+"/..."), "\n") {
				if path != root && strings.Contains(pkg, " "+root+"/internal/") {
					t.Errorf("it imports what another version of the root may not have: %s", pkg)
				}
				if name, _, main := strings.Cut(pkg, " main"); path == root && main && !strings.Contains(name, "/internal/") {
					run(t, dir, "install", name+"@"+tr.version)
				}
			}
		})
	}
}
