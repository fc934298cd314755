package timeline

// How programs crash, by their languages' runtimes.
var languageRules = []rule{
	{Name: "Go: panic", Has: "panic: ", Kind: kindFailure, Match: `^panic: (?P<why>.+)`, Example: "panic: runtime error: invalid memory address or nil pointer dereference", Gives: "why=runtime error: invalid memory address or nil pointer dereference"},
	{Name: "Go: fatal error", Has: "fatal error: ", Kind: kindFailure, Match: `^fatal error: (?P<why>.+)`, Example: "fatal error: all goroutines are asleep - deadlock!", Gives: "why=all goroutines are asleep - deadlock!"},
	{Name: "Go: a handler's panic", Has: "panic serving", Kind: kindFailure, Match: `^http2?: panic serving \S+: (?P<why>.+)`, Example: "2024/05/28 05:48:43 http2: panic serving 127.0.0.6:43935: no configuration manager in context", Gives: "why=no configuration manager in context"},
	{Name: "Go: unexpected fault", Has: "unexpected fault address", Kind: kindFailure, Match: `^unexpected fault address`, Example: "unexpected fault address 0x7f0000000000"},
	{Name: "Go: SIGQUIT", Has: "SIGQUIT: quit", Kind: kindSignal, Set: map[string]string{"signal": "SIGQUIT"}, Match: `^SIGQUIT: quit$`, Example: "SIGQUIT: quit", Gives: "signal=SIGQUIT"},
	{Name: "go run: exit", Has: "exit status", Kind: kindExit, Match: `^exit status (?P<status>\d+)$`, Example: "exit status 2", Gives: "status=2"},

	{Name: "Python: traceback", Has: "Traceback (most recent", Kind: kindFailure, Match: `^Traceback \(most recent call last\)`, Example: "Traceback (most recent call last):"},
	{Name: "asyncio: destroyed tasks", Has: "was destroyed but it is pending", Kind: kindFailure, Match: `^Task was destroyed but it is pending`, Example: "2026-05-20 22:52:00,100 ERROR asyncio: Task was destroyed but it is pending!"},
	{Name: "asyncio: generators", Has: "ynchronous generator", Kind: kindFailure, Match: `^(?:RuntimeError: aclose\(\): asynchronous generator is already running|an error occurred during closing of asynchronous generator)`, Example: "RuntimeError: aclose(): asynchronous generator is already running"},
	{Name: "asyncio: unhandled", Has: "Unhandled exception in event loop", Kind: kindFailure, Match: `^Unhandled exception in event loop`, Example: "Unhandled exception in event loop:"},
	{Name: "Python: fatal", Has: "Fatal Python error", Kind: kindFailure, Match: `^Fatal Python error: (?P<why>.+)`, Example: "Fatal Python error: Segmentation fault", Gives: "why=Segmentation fault"},

	{Name: "Node: heap", Has: "JavaScript heap out of memory", Kind: kindFailure, Match: `^FATAL ERROR: .*JavaScript heap out of memory`, Example: "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"},
	{Name: "Node: error", Has: "Error: ", Kind: kindFailure, Match: `^(?:Uncaught )?(?:Type|Reference|Range|Syntax|Eval|URI|Assertion)Error(?: \[\w+\])?: (?P<why>.+)`, Example: "TypeError: cannot read x of undefined", Gives: "why=cannot read x of undefined"},
	{Name: "Node: throw", Has: "throw er; ", Kind: kindFailure, Match: `throw er; // Unhandled 'error' event`, Example: "      throw er; // Unhandled 'error' event"},
	{Name: "Node: version", Has: "Node.js v", Kind: kindExit, Set: map[string]string{"status": "1", "role": detail, "text": "Node.js crashed"}, Match: `^Node\.js v\d+`, Example: "Node.js v20.20.2", Gives: "status=1"},
	{Name: "Node: unhandled rejection", Has: "unhandled|uncaught", Kind: kindFailure, Match: `(?i)^(?:\[?(?:FATAL|ERROR)\]?:? )?(?:UnhandledPromiseRejection|unhandled(?:Promise)? ?rejection|uncaught ?exception)\b`, Example: "Unhandled rejection: Error: no database"},

	{Name: "Java: main died", Has: "Exception in thread", Kind: kindFailure, Match: `^Exception in thread "[^"]*" (?P<why>.+)`, Example: `Exception in thread "main" java.lang.IllegalStateException: no database`, Gives: "why=java.lang.IllegalStateException: no database"},
	{Name: "Java: out of memory", Has: "java.lang.OutOfMemoryError", Kind: kindFailure, Match: `^(?:Terminating due to )?java\.lang\.OutOfMemoryError(?:: (?P<why>.+))?`, Example: "java.lang.OutOfMemoryError: Java heap space", Gives: "why=Java heap space"},
	{Name: "Java: fatal", Has: "fatal error has been detected", Kind: kindFailure, Match: `^# A fatal error has been detected by the Java Runtime`, Example: "# A fatal error has been detected by the Java Runtime Environment:"},
	{Name: "Spring: stops", Has: "ommencing graceful shutdown", Kind: kindStop, Match: `^Commencing graceful shutdown`, Example: "2024-05-01T10:00:00.123+02:00  INFO 77 --- [ionShutdownHook] o.s.b.w.e.tomcat.GracefulShutdown : Commencing graceful shutdown. Waiting for active requests to complete"},
	{Name: "Spring: stopped", Has: "raceful shutdown complete", Kind: kindExit, Set: map[string]string{"status": "0"}, Match: `^Graceful shutdown complete`, Example: "2024-05-01T10:00:00.123+02:00  INFO 77 --- [tomcat-shutdown] o.s.b.w.e.tomcat.GracefulShutdown : Graceful shutdown complete", Gives: "status=0"},
	{Name: "Spring: cuts its requests", Has: "raceful shutdown aborted", Kind: kindCut, Match: `^Graceful shutdown aborted with`, Example: "2020-08-17 11:39:50.720  INFO 48032 --- [tomcat-shutdown] o.s.b.w.e.tomcat.GracefulShutdown        : Graceful shutdown aborted with one or more requests still active"},
	{Name: "Spring: failed to start", Has: "Application run failed", Kind: kindFailure, Match: `^Application run failed`, Example: "2024-05-01T10:00:00.123+02:00 ERROR 77 --- [main] o.s.boot.SpringApplication : Application run failed"},

	{Name: "Rust: panic", Has: "panicked at ", Kind: kindFailure, Match: `^thread '[^']*' (?:\(\d+\) )?panicked at (?P<why>.+)`, Example: "thread 'main' panicked at src/main.rs:3:5:", Gives: "why=src/main.rs:3:5:"},
	{Name: "C++: terminate", Has: "terminate called after", Kind: kindFailure, Match: `^terminate called after throwing an instance of '(?P<why>[^']+)'`, Example: "terminate called after throwing an instance of 'std::runtime_error'", Gives: "why=std::runtime_error"},
	{Name: "shell: killed", Has: "Segmentation fault", Kind: kindFailure, Set: map[string]string{"signal": "SIGSEGV"}, Match: `^(?:\S+: (?:line \d+: +)?(?:\d+ )?)?Segmentation fault(?: +\(core dumped\))?`, Example: "Segmentation fault (core dumped)", Gives: "signal=SIGSEGV"},
	{Name: "shell: job killed", Has: "Killed ", Kind: kindExit, Set: map[string]string{"signal": "SIGKILL"}, Match: `^\S+: line \d+: +(?P<child>\d+) Killed `, Example: "./run.sh: line 3:    77 Killed                  ./web", Gives: "child=77 signal=SIGKILL"},
}
