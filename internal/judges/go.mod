module github.com/evenkeel-go/evenkeel/internal/judges

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/evenkeel-go/evenkeel v0.0.0
	github.com/quic-go/quic-go v0.65.0
	go.uber.org/goleak v1.3.0
	golang.org/x/net v0.62.0
)

require (
	github.com/coreos/go-systemd/v22 v22.7.0 // indirect
	github.com/quic-go/qpack v0.6.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/evenkeel-go/evenkeel => ../..
