package restart_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/evenkeel-go/evenkeel/restart"
	"github.com/evenkeel-go/evenkeel/restart/leasetest"
)

func ExampleLease() {
	var register leasetest.Memory // in a test; otherwise restart.Postgres or another engine
	lease := &restart.Lease{Register: &register}
	work := lease.Wrap(func(ctx context.Context, term uint64) error {
		fmt.Println("the only one, in term", term)
		return nil
	})
	fmt.Println(work(context.Background()))
	fmt.Println(work(context.Background()))
	// Output:
	// the only one, in term 1
	// <nil>
	// the only one, in term 2
	// <nil>
}

// The term is the fencing token. The statement writes only if no later term has
// written, so a holder that was paused in front of it changes nothing when it goes on.
//
// The database keeps the highest term beside what it guards:
//
//	CREATE TABLE bots (name text PRIMARY KEY, next_update bigint NOT NULL, term bigint NOT NULL)
func ExampleLease_fencing() {
	var db *sql.DB // opened with a driver for Postgres
	lease := &restart.Lease{Register: restart.Postgres(db, "leases", "bot")}
	save := func(ctx context.Context, term uint64, next int) error {
		result, err := db.ExecContext(ctx,
			"UPDATE bots SET next_update = $1, term = $2 WHERE name = 'bot' AND term <= $2", next, int64(term))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return fmt.Errorf("term %d: %w", term, restart.ErrLeaseLost) // a later term has written
	}
	_ = lease.Wrap(func(ctx context.Context, term uint64) error {
		for next := 1; ctx.Err() == nil; next++ {
			if err := save(ctx, term, next); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}
