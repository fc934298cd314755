// Package evenkeel is for the moments when services usually break: being told
// to stop, draining, shutting down, crashing and being started again.
//
// It is a map; the code is in
//
//   - [github.com/evenkeel-go/evenkeel/lifecycle]: from the first signal to the
//     exit status. The signal hook that only records, the group that owns the
//     goroutines, the stream that can be closed at any time.
//   - [github.com/evenkeel-go/evenkeel/lifecycle/timeline]: the logs of many
//     processes as chains of cause and effect, as text and as a page.
//   - [github.com/evenkeel-go/evenkeel/lifecycle/stoptest]: any program, stopped at
//     every moment, under load, and what it lost.
//   - [github.com/evenkeel-go/evenkeel/drain]: the stop itself. The gate that
//     admits work, the server that stops in the right order, the plan of phases
//     under one budget.
//   - [github.com/evenkeel-go/evenkeel/restart]: starting again. The policy that
//     slows down what keeps failing, the ledger that keeps its history on disk,
//     the lock and the lease that let one process at a time.
//
// Each of them works alone. Only lifecycle.WithSignals touches the process, and
// drain.Server.ListenAndServe takes the sockets that systemd passed to it. Nothing
// else is global, nothing runs in init, and only main exits.
//
// # Log lines
//
// What has a Logger field writes these messages with these attributes, so that
// the lines of many processes can be read together, by people and by the
// timeline. Add the pid with [log/slog.Logger.With], and who for the program's
// name. An error or a stack is there if there is one; backoff is the policy's
// level, as level is slog's own key. A duration is in seconds and says so, in JSON
// too: took=1.5s. Without a Logger, what no caller receives as an error goes to
// [log/slog.Default], from Warn on.
//
//	signal ignored            signal, remedy
//	stop                      cause, signal
//	drain began               cause, budget, deadline
//	phase began               phase, until, forced
//	drain forced              phase
//	step ended                phase, step, outcome, took, error, stack
//	abandoned step returned   phase, step, took, error, stack
//	stacks missing            phase, error
//	drain ended               took, failed, forced
//	task failed               task, error, stack
//	task not started          task
//	tasks left                live, error
//	restart wait              error or cause, ran, backoff, wait
//	run died                  ran, sessions, unrecorded, error, stack
//	sessions cut again        sessions, runs
//	session suspected         session, deaths
//	suspects dropped          sessions, most
//	ledger unavailable        path, error, wait
//	black box unavailable     path, error
//	crash output unavailable  path, error
//	lock wait                 path, holder
//	lock lingers              path, holder, wait
//	lock record not written   path, error
//	lease wait                lease, holder, term
//	lease register fails      lease, error
//	lease held                lease, term
//	lease released            lease, term
//	lease not released        lease, term, error, wait
//	panic                     name, error, stack
//	exit                      status, error, stack
package evenkeel
