package timeline

const (
	fatalSignal = `(?P<signal>SIG(?:TERM|INT|QUIT|ABRT|HUP|SEGV|BUS)|(?:terminated|interrupt|hangup|quit)\b)`
	anySignal   = `["'(]?(?P<signal>SIG(?:TERM|INT|QUIT|ABRT|HUP)|(?:terminated|interrupt|hangup)\b|(?:1|2|3|6|15)\b)["')]?`
	speaker     = `(?i:^(?:[\[(<]?[\w./-]+[\])>]?[:,] |[\[(][\w./ -]+[\])] |pkg/osutil: |[A-Z]{2}\d+: )?(?:the )?(?:process |server |worker |node |manager |program |application |app )?)`
)

// What any program may say of a signal that it got, or of its stop. The names of
// signals count only behind a verb, at the beginning of a message.
var signalRules = []rule{
	{Name: "reload", Has: "SIGHUP", Kind: kindSignal, Set: map[string]string{"role": reload, "signal": "SIGHUP"}, Match: speaker + `(?i:(?:received|caught|got) (?:an? )?(?:signal )?SIGHUP|SIGHUP received)\b.*(?i:reload|re-?read|reopen|rotat|re-?config|restart)`,
		Example: "2024-05-01 10:00:00,123 INFO app: Received SIGHUP, reloading configuration", Gives: "signal=SIGHUP"},
	{Name: "received SIGTERM", Has: "SIGTERM|SIGINT|SIGQUIT|SIGABRT|SIGHUP|signal|terminated|interrupt|hangup", Kind: kindSignal, Match: speaker + `(?i:has |was |is )?(?i:received|receiving|caught|got|handling|trapped|catched|interrupted by|terminated by|terminating on|exiting on|exiting due to|shutting down on|shutting down due to|stopping on|stopping due to|stopped by|exiting gracefully upon receiving|shutdown requested by|shutdown triggered by|stop requested by)(?i: an?| the| os| unix| system| termination| shutdown| kill| exit| stop| interrupt| process)*(?: signal)?[: ]+` + anySignal,
		Example: "2026-08-06 19:53:28,034 INFO gateway.run: Received SIGTERM — initiating shutdown", Gives: "signal=SIGTERM"},
	{Name: "SIGTERM received", Has: "SIGTERM|SIGINT|SIGQUIT|SIGABRT|SIGHUP|SIGSEGV|SIGBUS|terminated|interrupt|hangup|quit received", Kind: kindSignal, Match: speaker + fatalSignal + ` (?i:signal )?(?i:received|caught|detected|handler called|handler invoked)\b`,
		Example: "2020-05-28 20:28:26.501 [info] <0.60.0> SIGTERM received - shutting down", Gives: "signal=SIGTERM"},
	{Name: "signal SIGTERM received", Has: "ignal ", Kind: kindSignal, Match: speaker + `(?i:signal:? )` + anySignal + ` (?:\(SIG\w+\) )?(?i:received|caught)\b`,
		Example: "2024/05/01 10:00:00 signal 15 received, stopping", Gives: "signal=SIGTERM"},
	{Name: "signal received: SIGTERM", Has: "ignal", Kind: kindSignal, Match: speaker + `(?i:(?:os |shutdown |termination |stop )?signal (?:received|caught)[:,]? |(?:received|caught|got) (?:the )?(?:os |shutdown |termination |stop )?signal[: ]+(?:named )?)` + anySignal,
		Example: "2024/05/01 10:00:00 signal received: terminated", Gives: "signal=SIGTERM"},
	{Name: "a signal, in an attribute", Has: "signal|shutting down|shutdown|stopping|terminating|exiting", Kind: kindSignal, Match: `^(?i:(?:received|caught|got)(?: an?| the)?(?: os| shutdown| termination| stop| exit| kill)* signal|(?:os |shutdown |termination |stop )?signal (?:received|caught)|shutting down|shutdown|stopping|terminating|exiting)`, Set: map[string]string{"role": "attribute"},
		Example: `ts=2024-08-14T10:42:00.215Z level=warn msg="Received an OS signal, exiting gracefully..." signal=terminated`, Gives: "signal=SIGTERM"},
	{Name: "exiting on signal 15", Has: "xiting on |aught signal", Kind: kindSignal, Match: `^(?:(?:\[origin [^\]]*\] |\w+ )?[Ee]xiting on (?:receipt of |signal )|=+> (?:Exiting! )?Caught [Ss]ignal: )(?P<signal>\w+)`,
		Example: "May  1 21:31:08 jsm dnsmasq[6142]: exiting on receipt of SIGTERM", Gives: "signal=SIGTERM"},
	{Name: "a shutdown signal", Has: "signal", Kind: kindStop, Match: speaker + `(?i:(?:received|caught|got)(?: an?| the)? (?:shutdown|termination|stop|exit|kill|interrupt|terminate) signal|(?:shutdown|termination|stop|exit|interrupt) signal (?:received|caught)|received(?: an?)? signal to (?:stop|shut ?down|terminate|exit))`,
		Example: `{"level":"info","ts":"2026-01-09T11:44:08.41089404Z","msg":"Shutdown signal received, waiting for all workers to finish"}`},
	{Name: "a keyboard interrupt", Has: "eyboard", Kind: kindSignal, Set: map[string]string{"signal": "SIGINT"}, Match: speaker + `(?i:keyboard ?interrupt (?:received|caught)|(?:received|caught|got) (?:a )?keyboard ?interrupt)|^KeyboardInterrupt$`,
		Example: "2024-05-01 10:00:00,123 INFO app: KeyboardInterrupt received, exiting", Gives: "signal=SIGINT"},
	{Name: "sends a signal", Has: "sending|sent SIG|sends SIG|sent signal|sends signal", Kind: kindOrder, Match: speaker + `(?i:sending|sent|sends) (?:signal )?(?P<signal>SIG(?:TERM|KILL|INT|QUIT|ABRT|HUP)) to (?i:process|pid|child|worker|group|container)?[ :=(]*(?P<child>\d+)`,
		Example: "2024-05-01 10:00:00,123 INFO app: Sending SIGTERM to process 77", Gives: "child=77 signal=SIGTERM"},
	{Name: "shutting down gracefully", Has: "shutdown|shutting down", Kind: kindStop, Level: "info", Match: speaker + `(?i:(?:initiating|starting|beginning|performing|commencing|executing|running) (?:a )?(?:graceful |clean |orderly )?shutdown\b|(?:gracefully )?shutting down(?: gracefully|\.\.\.|…|$| (?:the )?(?:server|gateway|worker|service|application|app|daemon|process)\b)|graceful shutdown (?:started|initiated|begins|requested|triggered)|shutdown (?:requested|initiated|started|hook called|in progress|triggered)\b)`,
		Example: "2024/05/01 10:00:00 Shutting down server..."},
	{Name: "stopped", Has: "stopped", Kind: kindExit, Set: map[string]string{"status": "0"}, Match: `^(?i:(?:the )?(?:server|gateway|worker|service|application|app|daemon|process|manager) (?:has )?(?:been )?(?:stopped|exited|shut down)(?: gracefully| cleanly)?[.!]?)$`,
		Example: "2024/05/01 10:00:00 server stopped", Gives: "status=0"},
	{Name: "shutdown is complete", Has: "shutdown|shut down", Kind: kindExit, Set: map[string]string{"status": "0"}, Match: `^(?i:(?:graceful |server |gateway )?(?:shutdown|shut down) (?:is )?(?:complete|completed|finished|done|successful(?:ly)?)[.!]?|(?:server|gateway) shut ?down(?: complete)?[.!]?)$`,
		Example: "2024/05/01 10:00:00 Shutdown complete", Gives: "status=0"},
	{Name: "exited, with status", Has: "exited|terminated|died with|died unexpectedly", Kind: kindExit, Match: `^(?i:(?:the )?(?:child |worker |main |sub)?process ["']?(?P<of>[A-Za-z][\w.-]*)?["']?[ (]*(?:pid[ =:]*)?(?P<child>\d+)?\)?,? (?:has )?(?:exited|terminated|died) (?:unexpectedly )?with (?:(?:exit )?(?:status|code)[ :=]*(?P<status>\d+)|signal[ :=]*(?P<signal>SIG\w+|\d+)))`,
		Example: "2024/05/01 10:00:00 process web (77) exited with status 2", Gives: "child=77 of=web status=2"},
	{Name: "killed by a signal", Has: "killed by ", Kind: kindExit, Match: `^(?i:(?:the )?(?:child |worker )?(?:process )?["']?(?P<of>[A-Za-z][\w.-]*)?["']?[ (]*(?:pid[ =:]*)?(?P<child>\d+)?\)?,? (?:was )?(?:killed|terminated) by (?:signal )?(?P<signal>SIG[A-Z]+|\d+))`,
		Example: "2024/05/01 10:00:00 worker 77 was killed by SIGKILL", Gives: "child=77 signal=SIGKILL"},
	{Name: "crashed", Has: "crashed", Kind: kindFailure, Level: "warn", Match: `^(?i:(?:the )?[\w./-]+(?: [\w./-]+){0,2} (?:has )?crashed\b)`,
		Example: `2026-05-20 22:51:59,100 ERROR cli: CLI process crashed during asyncio.run() shutdown`},
	{Name: "connection lost", Has: "onnection ", Kind: kindCut, Level: "warn", Match: `^(?i:(?:the )?(?:(?P<needs>\w+):? )?(?:\w+ )?connection (?:to|with) (?P<needs2>[\w./-]+?)(?::(?P<addr>\d+))? (?:was |has been )?(?:lost|reset|closed|refused|dropped|interrupted|broken|failed)\b)`,
		Example: "2024-05-01 10:00:00,123 ERROR app: connection to redis lost", Gives: "needs=redis"},
	{Name: "lost connection", Has: "ost connection", Kind: kindCut, Match: `^(?i:lost connection to (?:the )?(?P<needs>[\w./-]+))`,
		Example: "2024-05-01 10:00:00,123 ERROR app: Lost connection to redis", Gives: "needs=redis"},
	{Name: "cannot connect", Has: "onnection refused", Kind: kindCut, Level: "warn", Match: `(?i:connecting to|connect to|dial tcp|connect ECONNREFUSED) (?:\w+://)?(?P<addr>[\w.\[\]:-]+:\d+).*[Cc]onnection refused|(?P<addr2>[\w.-]+:\d+): (?:connect: )?[Cc]onnection refused`,
		Example: "2024-05-01 10:00:00,123 ERROR app: redis.exceptions.ConnectionError: Error 111 connecting to 127.0.0.1:6379. Connection refused.", Gives: "addr=127.0.0.1:6379"},
	{Name: "listens", Has: "listening|unning on http|serving on |server started on ", Kind: kindListen, Match: `(?i:\b(?:listening|running|serving|server started) (?:(?:on|at):? (?:addr(?:ess)? |port |on )*)(?:\w+://)?(?P<addr>(?:[\w.\[\]-]*:)+\d{2,5}|\d{2,5}))\b`,
		Example: "[2026-11-24 16:15:17 +0000] [14805] [INFO] Listening at: http://127.0.0.1:21081 (14805)", Gives: "addr=127.0.0.1:21081"},
	{Name: "reconnected", Has: "onnected to ", Kind: kindReconnect, Match: `^(?i:(?:re-?connected|connection re-?established|successfully reconnected) (?:to|with) (?:the )?(?P<needs>[\w./-]+))`,
		Example: "2024-05-01 10:00:00,123 INFO app: Reconnected to redis", Gives: "needs=redis"},
}
