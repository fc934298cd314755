package evenkeel_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/proctest"
	"github.com/evenkeel-go/evenkeel/lifecycle"
	"github.com/evenkeel-go/evenkeel/restart"
)

func TestMain(m *testing.M) {
	proctest.Main(map[string]func(){"readme": Example})
	goleak.VerifyTestMain(m)
}

var db io.Closer = io.NopCloser(nil)

func app() http.Handler              { return http.NotFoundHandler() }
func work(ctx context.Context) error { <-ctx.Done(); return nil }

// The main of a service.
func Example() {
	ctx, stop := lifecycle.WithSignals(context.Background()) // first signal drains, second forces, third kills
	defer stop()

	var g lifecycle.Group
	var jobs drain.Gate
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", g.Readyz)
	mux.Handle("/", app())
	web := &drain.Server{HTTP: &http.Server{Addr: ":8080", Handler: mux}, Settle: 3 * time.Second}

	g.Drain = drain.Plan{Budget: 25 * time.Second, Phases: []drain.Phase{
		{Name: "requests", Timeout: 15 * time.Second, Steps: []drain.Step{web.Step()}},
		{Name: "jobs", Reserve: 3 * time.Second, Steps: []drain.Step{{Name: "queue", Stop: jobs.Drain}}},
		{Name: "tasks", Reserve: time.Second, Steps: []drain.Step{g.Step()}}, // cancels what g.Go started, and waits
		{Name: "db", Reserve: time.Second, Steps: []drain.Step{drain.Close("db", db)}},
	}}
	g.Go("http", web.ListenAndServe)
	g.Go("worker", restart.Policy{}.Wrap(work))
	os.Exit(lifecycle.ExitCode(g.Run(ctx))) // Run is nil after an orderly stop
}

// If its port is taken, the README's program says so and exits with 1.
func TestReadmePortTaken(t *testing.T) {
	if l, err := net.Listen("tcp", "127.0.0.1:8080"); err == nil {
		defer l.Close()
	} // else another process has it, which is as good
	out, status := proctest.Start(t, "readme").Ended()
	if n := strings.Count(out, ":8080"); status != 1 || n != 1 || !strings.Contains(out, "ERROR exit status=1") {
		t.Errorf("exit status %d, said:\n%s", status, out)
	}
}

// The README's plan is the one whose times are in Plan's documentation.
func TestReadmePlan(t *testing.T) {
	plan := func(file string) []string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`Budget: [^,]+|{Name: "\w+", (Timeout|Reserve): [^,}]+`).FindAllString(string(text), -1)
	}
	if got, want := plan("README.md"), plan("drain/clock_example_test.go"); len(want) != 5 || !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The README's program is the example above, which is compiled.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(readme), "```go\n")
	program, _, _ = strings.Cut(program, "```")
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "readme_test.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	body := file.Scope.Lookup("Example").Decl.(*ast.FuncDecl).Body
	example := string(source[files.Position(body.Lbrace).Offset+2 : files.Position(body.Rbrace).Offset])
	if want := strings.ReplaceAll("\n"+example, "\n\t", "\n")[1:]; program != want {
		t.Errorf("README.md has\n%s\nthe example is\n%s", program, want)
	}
	if n := strings.Count(string(readme), "\n"); n >= 100 {
		t.Errorf("README.md has %d lines", n)
	}
}
