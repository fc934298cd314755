package restart

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Postgres returns a [Register] that is one row of a Postgres table, by any driver for
// database/sql. Create the table once, with a name of your choice:
//
//	CREATE TABLE leases (key text PRIMARY KEY, version bigint NOT NULL, value bytea NOT NULL)
//
// Keys are independent leases. The table may have its schema before it, with a dot. db must
// lead to the primary, and have a connection to spare: a pool that waits for a free one
// delays renewals. A standby that becomes the primary must have every commit, by
// synchronous replication. Without that a failover can let two holders in, and only
// the fencing by term protects what they write.
func Postgres(db *sql.DB, table, key string) Register {
	if db == nil {
		panic("restart: Postgres: nil db")
	}
	parts := strings.Split(table, ".")
	for i, p := range parts {
		parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return &postgres{db, strings.Join(parts, "."), key}
}

type postgres struct {
	db         *sql.DB
	table, key string // table is quoted
}

func (p *postgres) String() string { return p.key }

func (p *postgres) Get(ctx context.Context) (value []byte, version string, err error) {
	err = p.db.QueryRowContext(ctx, "SELECT value, version::text FROM "+p.table+" WHERE key = $1", p.key).Scan(&value, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, "", nil
	}
	return value, version, p.explain(err)
}

func (p *postgres) Set(ctx context.Context, value []byte, version string) (string, error) {
	// A version begins at 1, so 0 stands for a row that is not there.
	query, n := "INSERT INTO "+p.table+" (value, version, key) VALUES ($1, $2 + 1, $3) ON CONFLICT (key) DO NOTHING", uint64(0)
	if version != "" {
		query = "UPDATE " + p.table + " SET value = $1, version = $2 + 1 WHERE key = $3 AND version = $2"
		var err error
		if n, err = strconv.ParseUint(version, 10, 63); err != nil {
			return "", fmt.Errorf("restart: Postgres: version %q: %w", version, ErrChanged)
		}
	}
	result, err := p.db.ExecContext(ctx, query, value, int64(n), p.key)
	if err != nil {
		return "", p.explain(err)
	}
	switch rows, err := result.RowsAffected(); {
	case err != nil:
		return "", err
	case rows == 0:
		return "", fmt.Errorf("restart: Postgres: key %s: %w", p.key, ErrChanged)
	}
	return strconv.FormatUint(n+1, 10), nil
}

// explain marks errors that only a change of the database or of its rights can mend.
func (p *postgres) explain(err error) error {
	var state interface{ SQLState() string } // pgx and pq have it
	if errors.As(err, &state) {
		switch state.SQLState() {
		case "42P01", "42703", "42804", "42501": // no such table or column, another type, no right
			return Permanent(fmt.Errorf("restart: Postgres: table %s: %w; create it as the documentation of Postgres says, and grant SELECT, INSERT and UPDATE", p.table, err))
		}
	}
	return err
}
