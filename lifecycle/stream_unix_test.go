//go:build unix

package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle"
)

// A producer blocked in a system call is named with it.
func TestStreamInSystemCall(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fd := r.Fd() // and so the descriptor blocks
	reading := make(chan struct{})
	st := lifecycle.Generate(t.Context(), 0, func(context.Context, func(int) bool) error {
		close(reading)
		_, err := syscall.Read(int(fd), make([]byte, 1))
		return err
	})
	<-reading
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var leak *lifecycle.LeakError
	if err := st.Close(ctx); !errors.As(err, &leak) || !strings.Contains(leak.Found[0].Stack, "syscall.Read") {
		t.Errorf("got %v", err)
	}
	w.Close()
	if err := st.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
