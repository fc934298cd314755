module github.com/evenkeel-go/evenkeel/internal/bench

go 1.26.0

require (
	github.com/evenkeel-go/evenkeel v0.0.0
	github.com/gofrs/flock v0.13.1
	github.com/thejerf/suture/v4 v4.0.6
	go.uber.org/goleak v1.3.0
	golang.org/x/sync v0.24.0
	k8s.io/apimachinery v0.37.2
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/coreos/go-systemd/v22 v22.7.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace github.com/evenkeel-go/evenkeel => ../..
