module github.com/evenkeel-go/evenkeel/examples/cli

go 1.26.0

replace github.com/evenkeel-go/evenkeel => ../..

require (
	github.com/creack/pty v1.1.24
	github.com/evenkeel-go/evenkeel v0.1.0
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require github.com/coreos/go-systemd/v22 v22.7.0 // indirect
