package main

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	_ "modernc.org/sqlite"
)

// A store keeps the messages in a table, and wakes the callers that wait for new ones.
type store struct {
	db *sql.DB // nil before open

	mu    sync.Mutex
	added chan struct{} // closed at the next message; nil if nothing waits
}

type message struct {
	ID   int64
	Text string
}

func (s *store) open(ctx context.Context, path string) (err error) {
	s.db, err = sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
	if err == nil {
		_, err = s.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL)`)
	}
	if err != nil {
		return fmt.Errorf("gateway: %s: %w", path, err)
	}
	return nil
}

// Close waits for the running queries.
func (s *store) Close() error {
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

func (s *store) alive(ctx context.Context) error { return s.db.PingContext(ctx) }

func (s *store) add(ctx context.Context, text string) (id int64, err error) {
	if err = s.db.QueryRowContext(ctx, `INSERT INTO messages (text) VALUES (?) RETURNING id`, text).Scan(&id); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.added != nil {
		close(s.added)
		s.added = nil
	}
	return id, nil
}

// after returns the messages after an id, and a channel that is closed at the next one.
func (s *store) after(ctx context.Context, id int64) (found []message, more <-chan struct{}, err error) {
	s.mu.Lock()
	if s.added == nil {
		s.added = make(chan struct{})
	}
	more = s.added // before the query, so that none is missed
	s.mu.Unlock()
	rows, err := s.db.QueryContext(ctx, `SELECT id, text FROM messages WHERE id > ? ORDER BY id LIMIT 1000`, id)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m message
		if err := rows.Scan(&m.ID, &m.Text); err != nil {
			return nil, nil, err
		}
		found = append(found, m)
	}
	return found, more, rows.Err()
}

// prune keeps the latest messages, until ctx ends.
func (s *store) prune(ctx context.Context) error {
	const keep = 100_000
	for again := time.NewTicker(time.Minute); ; {
		if _, err := s.db.ExecContext(ctx, `DELETE FROM messages WHERE id <= (SELECT max(id) FROM messages) - ?`, keep); err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}
