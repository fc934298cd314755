// Package stoptest stops a program at every moment, under load, and says what it lost.
//
// Run starts the program in a child process, again and again, and sends it requests as
// its clients do. It stops each life at another moment: during the start, while half of
// a request body is sent, while streams are open, when idle; by SIGTERM, by SIGINT, twice,
// by SIGKILL. It judges from outside, so the program may be written in any language:
//
//	func TestStops(t *testing.T) {
//		stoptest.Run(t, stoptest.Program{
//			Args:  []string{"-addr", "{addr}"},
//			Ready: "/readyz",
//			Load:  []stoptest.Load{stoptest.Get("/"), stoptest.Upload("/files", 1<<20)},
//		})
//	}
//
// Check does the same without a testing.T. The command evenkeel prove calls it.
//
// # Words
//
// A life is one run of the program, from its start to its exit. A load is a function that
// asks the program for work, as one client. The moment is when the program is stopped, and
// how. A promise is what a program that stops well keeps. It is broken if one life broke it.
//
// # Verdicts on work
//
// A call of a load ends in one of four ways:
//
//	answered   the response is complete
//	refused    the program said no, and did nothing: the connection was refused, 503 or 429
//	           in a complete response, REFUSED_STREAM
//	lost       the program had begun the work: a byte of a response or an interim response
//	           was seen. Then no proper end followed, or a response with another status
//	           of 400 or more
//	unproven   the connection ended before any byte of a response. The program may never
//	           have seen the request, even on a connection that had served another one
//
// Only lost work breaks a promise. Unproven work is counted and shown. An Upload asks for
// 100-continue, so that a program that has begun to read the body is known to have admitted it.
//
// # No false alarms
//
// A machine that is busy makes everything late. So a judgement that depends on time is
// made again in a second life with the same seed. Only what both lives show is reported.
//
// # What differs between systems
//
// Signals, and all that is left after the exit, need a Unix. On Windows the only stop is
// a kill. Children that left the process group are found on Linux alone.
package stoptest
