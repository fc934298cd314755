package restart

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/evenkeel-go/evenkeel/internal/logs"
)

// A leaseRecord is what a lease keeps in its [Register], as JSON, for the other processes
// and for people. Of its times only TTL decides something.
type leaseRecord struct {
	Term   uint64     `json:"term"`
	State  leaseState `json:"state"`
	Holder string     `json:"holder"`
	Since  string     `json:"since,omitempty"`  // when the term began, by the holder's wall clock
	Left   *int       `json:"left,omitempty"`   // the work that a draining holder waits for
	Within *seconds   `json:"within,omitempty"` // how long its drain may still take
	TTL    seconds    `json:"ttl"`
	Nonce  string     `json:"nonce"` // identifies the run of Wrap's function
}

type leaseState string

const (
	leaseHeld     leaseState = "held"
	leaseDraining leaseState = "draining"
	leaseReleased leaseState = "released"
)

func newLeaseRecord(holder string, ttl time.Duration) leaseRecord {
	return leaseRecord{State: leaseHeld, Holder: holder, TTL: seconds(ttl), Nonce: rand.Text()}
}

// parseLease reads a record. A value that was never set is a zero record.
func parseLease(value []byte, version string) (r leaseRecord, err error) {
	if version == "" {
		return r, nil
	}
	err = json.Unmarshal(value, &r)
	if err == nil && (r.Term == 0 || r.TTL <= 0 || r.Nonce == "" || r.State != leaseHeld && r.State != leaseDraining && r.State != leaseReleased) {
		err = errors.New("a field is missing")
	}
	if err != nil {
		return r, Permanent(fmt.Errorf("the register does not hold a lease's record; use another key: %w", err))
	}
	return r, nil
}

func (r leaseRecord) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("restart: Lease: " + err.Error()) // no field can fail
	}
	return b
}

// String is the holder as a waiter names it.
func (r leaseRecord) String() string {
	s := r.Holder
	if r.Since != "" {
		s += " since " + r.Since
	}
	if r.State == leaseDraining {
		s += ", draining"
		if r.Left != nil {
			s += fmt.Sprintf(", %d left", *r.Left)
		}
	}
	return s
}

// seconds is a duration with its unit, as in log lines.
type seconds time.Duration

func (s seconds) MarshalText() ([]byte, error) { return []byte(logs.Seconds(time.Duration(s))), nil }

func (s *seconds) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = seconds(d)
	return err
}
