package evenkeel_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A construction is a row of CONTRIBUTING.md's word list.
type construction struct {
	text, instead string
	match         *regexp.Regexp
	except        []string // that are allowed though they match
}

// wordList reads the table. A row is: `text` | what to write instead | `exception`, ...
func wordList(t *testing.T) (list []construction) {
	page, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Word list\n")
	table, _, _ = strings.Cut(table, "\n## ")
	code := regexp.MustCompile("`([^`]+)`")
	for _, row := range regexp.MustCompile("(?m)^\\| `(.*?) \\| (.*?) \\| (.*?) ?\\|$").FindAllStringSubmatch(table, -1) {
		var except []string
		for _, e := range code.FindAllStringSubmatch(row[3], -1) {
			except = append(except, e[1])
		}
		for _, c := range code.FindAllStringSubmatch("`"+row[1], -1) {
			match := `\b` + regexp.QuoteMeta(c[1]) + `\b`
			if match = strings.ReplaceAll(match, " ", `\s+`); strings.Contains(match, "…") {
				match = strings.TrimSuffix(strings.ReplaceAll(match, `\s+…`, `\s[^.:;!?]*`), `\b`)
			}
			if c[1] == strings.ToLower(c[1]) {
				match = `(?i)` + match
			}
			list = append(list, construction{c[1], row[2], regexp.MustCompile(match), except})
		}
	}
	if len(list) < 10 {
		t.Fatalf("CONTRIBUTING.md: %d constructions in the word list", len(list))
	}
	return list
}

// find returns what of the list is in a text, and at which offsets.
func find(list []construction, text string) map[int]construction {
	found := map[int]construction{}
	for _, c := range list {
		for _, at := range c.match.FindAllStringIndex(text, -1) {
			near := strings.Join(strings.Fields(text[max(0, at[0]-40):min(len(text), at[1]+40)]), " ")
			if !slices.ContainsFunc(c.except, func(e string) bool { return strings.Contains(near, e) }) {
				found[at[0]] = c
			}
		}
	}
	return found
}

// blank overwrites what matches with spaces, so that offsets and lines stay.
func blank(text string, what *regexp.Regexp) string {
	return what.ReplaceAllStringFunc(text, func(s string) string {
		return regexp.MustCompile(`[^\n]`).ReplaceAllString(s, " ")
	})
}

var (
	notComment  = regexp.MustCompile(`(?m)^\s*//\t.*|^\s*//(?:go:|\s+Output:).*`)
	slashes     = regexp.MustCompile(`(?m)^\s*//|/\*|\*/`)
	inlineCode  = regexp.MustCompile("`[^`\n]*`|\"[^\"\n]*\"")
	fencedCode  = regexp.MustCompile("(?ms)^```.*?^```|^    .*?$")
	markdownURL = regexp.MustCompile(`\]\([^)]*\)`)
)

// prose returns a file's text for people, with everything else blank.
func prose(name string, source []byte) (string, error) {
	if strings.HasSuffix(name, ".md") {
		return blank(blank(blank(string(source), fencedCode), inlineCode), markdownURL), nil
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	text := []byte(blank(string(source), regexp.MustCompile(`.+`)))
	for _, group := range file.Comments {
		from, to := files.Position(group.Pos()).Offset, files.Position(group.End()).Offset
		comment := blank(blank(string(source[from:to]), notComment), slashes)
		copy(text[from:], blank(comment, inlineCode))
	}
	return string(text), nil
}

// Comments and pages have no construction of the word list.
func TestWords(t *testing.T) {
	list := wordList(t)
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if name == ".git" || entry != nil && entry.Name() == "testdata" {
				return fs.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".md") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text, err := prose(name, source)
		for at, c := range find(list, text) {
			t.Errorf("%s:%d: %q: write %s", name, strings.Count(text[:at], "\n")+1, c.text, c.instead)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The list is found across lines and in any case, but not in code, quotes or links.
func TestWordsFound(t *testing.T) {
	list := wordList(t)
	for _, tt := range []struct {
		name, source string
		want         int
	}{
		{"a.go", "package a\n\n// A client is\n// told. Nobody waits.\nvar a = 1 // whom\n", 3},
		{"a.go", "package a\n\n// Where the file is\n// missing, nothing happens. Where it is.\nvar a = 1\n", 1},
		{"a.go", "package a\n\n// They can be told apart. It says \"nobody\".\n//\n//\tnobody(whom)\nvar nobody = `whom`\n", 0},
		{"a.md", "It comes\nto an end, whom. `nobody` [a](whom)\n\n```\nnobody\n```\n\n    nobody\n", 2},
	} {
		text, err := prose(tt.name, []byte(tt.source))
		if found := find(list, text); err != nil || len(found) != tt.want {
			t.Errorf("%q: %v, %d found, want %d", tt.source, err, len(found), tt.want)
		}
	}
}
