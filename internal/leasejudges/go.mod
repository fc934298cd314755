module github.com/evenkeel-go/evenkeel/internal/leasejudges

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/evenkeel-go/evenkeel v0.0.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/gofrs/flock v0.13.1 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace github.com/evenkeel-go/evenkeel => ../..
