package timeline_test

import (
	"os"
	"strings"

	"github.com/evenkeel-go/evenkeel/lifecycle/timeline"
)

// Two logs, and what the one did to the other.
func ExampleRead() {
	gateway := strings.NewReader(`
{"time":"2026-05-20T22:55:01Z","msg":"stop","who":"gateway","pid":70093,"signal":"terminated"}
{"time":"2026-05-20T22:55:02Z","msg":"began","who":"gateway","pid":37043}
`)
	cli := strings.NewReader(`
{"time":"2026-05-20T22:53:40Z","msg":"API call began","who":"cli","session":"225211"}
{"time":"2026-05-20T22:55:13Z","msg":"cut","who":"cli","session":"225211"}
{"time":"2026-05-20T22:55:30Z","msg":"connected","who":"cli","session":"225211"}
{"time":"2026-05-20T22:55:38Z","msg":"answered","who":"cli","session":"225211"}
`)
	t := timeline.Read(timeline.Input{Name: "gateway.jsonl", Reader: gateway}, timeline.Input{Name: "cli.jsonl", Reader: cli})
	t.WriteText(os.Stdout)
	// Output:
	// 6 lines, 5 events: 1 chain that cost something, 0 that cost nothing; 1 session cut
	//
	// Chain 1. gateway 70093: received SIGTERM
	// 22:55:01 to 22:55:38, 37 s: 1 session cut; 25 s without an answer
	//
	//      Time      Process        Event                       Because of
	//   1  22:55:01  gateway 70093  received SIGTERM            no line says why
	//   2  22:55:02  gateway 37043  starts: began               1: its predecessor of the same name was stopped
	//   3  22:55:13  cli 225211     cut                         1: by time alone: the latest stop, within 30 s, as its server is not in the logs
	//   4  22:55:30  cli 225211     session is back: connected  3: the session had been cut
	//   5  22:55:38  cli 225211     answered                    4: the session had come back
}
