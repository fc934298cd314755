package main

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-go/evenkeel/drain"
	"github.com/evenkeel-go/evenkeel/internal/explore"
)

// A stop at the moment of any event on the network loses no message and cuts no listener.
func TestEveryMoment(t *testing.T) {
	explore.Explore(t, explore.Scenario{
		Server: func(t *testing.T) *drain.Server {
			messages := new(store)
			if err := messages.open(t.Context(), filepath.Join(t.TempDir(), "messages.db")); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { messages.Close() })
			return &drain.Server{HTTP: &http.Server{Handler: messages.handler()}, Settle: 20 * time.Millisecond}
		},
		Clients: []func(*explore.Client){
			func(c *explore.Client) {
				c.Every(20*time.Millisecond, func() {
					c.Do("POST", "/messages?"+url.Values{"text": {"hello"}}.Encode(), strings.NewReader(""), "\n")
				})
			},
			func(c *explore.Client) { c.Every(time.Millisecond, func() { c.Get("/events", "\n\n") }) },
		},
		Length: 60 * time.Millisecond, Budget: 5 * time.Second, Within: 2 * time.Second,
	}, 3)
}
