package timeline

import "slices"

// ruleTable returns the table of rules. The first that matches counts.
func ruleTable() []rule {
	return slices.Concat(systemRules, clusterRules, serverRules, languageRules, signalRules)
}

const unit = `(?P<of>[\w@:\\.-]+\.(?:service|scope|socket|mount|target|timer|slice|path|swap|device|automount))`

// systemd and the kernel.
var systemRules = []rule{
	{Name: "systemd stops a unit", From: "systemd", Has: "Stopping ", Kind: kindOrder, Match: `^Stopping (?P<of>.+?)(?: - .*)?\.\.\.$`,
		Example: "Feb 01 23:39:26 zulip systemd[1]: Stopping RabbitMQ Messaging Server...", Gives: "of=RabbitMQ Messaging Server"},
	{Name: "systemd has stopped a unit", From: "systemd", Has: "Stopped ", Kind: kindExit, Set: map[string]string{"role": detail}, Match: `^Stopped (?P<of>.+?)(?: - .*)?\.?$`,
		Example: "Feb 01 23:39:32 zulip systemd[1]: Stopped web.service - A web server.", Gives: "of=web"},
	{Name: "systemd starts a unit", From: "systemd", Has: "Started ", Kind: kindStart, Match: `^Started (?P<of>.+?)(?: - .*)?\.*$`,
		Example: "Jun 02 09:34:48 systemd[2039]: Started hermes-gateway.service", Gives: "of=hermes-gateway"},
	{Name: "systemd begins to start a unit", From: "systemd", Has: "Starting ", Kind: kindStart, Match: `^Starting (?P<of>.+?)(?: - .*)?\.\.\.$`,
		Example: "Nov 24 16:16:44 vm systemd[1]: Starting wd.service - Watched...", Gives: "of=wd"},
	{Name: "systemd: process exited", From: "systemd", Has: "process exited, code=", Kind: kindExit, Match: `^` + unit + `: [Mm]ain process exited, code=(?:exited, status=(?P<status>\d+)|(?:killed|dumped), status=(?P<signal>\d+))`,
		Example: "2026-11-24T16:17:50+0000 vm systemd[1]: web.service: Main process exited, code=killed, status=9/KILL", Gives: "of=web signal=SIGKILL"},
	{Name: "systemd: preparation failed", From: "systemd", Has: "process exited, code=", Kind: kindFailure, Match: `^` + unit + `: [Cc]ontrol process exited, code=(?:exited, status=(?P<status>\d+)|(?:killed|dumped), status=(?P<signal>\d+))`,
		Example: "Nov 24 16:16:46 vm systemd[1]: pre.service: Control process exited, code=exited, status=255/EXCEPTION", Gives: "of=pre status=255"},
	{Name: "systemd: failed", From: "systemd", Has: "ailed with result", Kind: kindExit, Set: map[string]string{"status": "failed", "role": detail}, Match: `^` + unit + `: Failed with result '(?P<why>[\w-]+)'`,
		Example: "Nov 24 16:16:46 vm systemd[1]: pre.service: Failed with result 'exit-code'.", Gives: "of=pre status=failed why=exit-code"},
	{Name: "systemd: failed, before 232", From: "systemd", Has: "entered failed state", Kind: kindExit, Set: map[string]string{"status": "failed", "role": detail}, Match: `^(?:Unit (?P<of2>\S+)|` + unit + `: Unit) entered failed state`,
		Example: "Nov 24 16:16:46 vm systemd[1]: Unit pre.service entered failed state.", Gives: "of=pre status=failed"},
	{Name: "systemd: ended well", From: "systemd", Has: "Deactivated", Kind: kindExit, Set: map[string]string{"status": "0"}, Match: `^` + unit + `: Deactivated successfully`,
		Example: "Nov 24 16:16:46 vm systemd[1]: web.service: Deactivated successfully.", Gives: "of=web status=0"},
	{Name: "systemd: ended well, before 246", From: "systemd", Has: "Succeeded", Kind: kindExit, Set: map[string]string{"status": "0"}, Match: `^` + unit + `: Succeeded`,
		Example: "Feb 01 23:39:32 zulip systemd[1]: rabbitmq-server.service: Succeeded.", Gives: "of=rabbitmq-server status=0"},
	{Name: "systemd waits to start again", From: "systemd", Has: "cheduled restart job", Kind: kindWait, Match: `^` + unit + `: Scheduled restart job`,
		Example: "Nov 24 16:17:50 vm systemd[1]: web.service: Scheduled restart job, restart counter is at 1.", Gives: "of=web"},
	{Name: "systemd waits, before 247", From: "systemd", Has: "scheduling restart", Kind: kindWait, Match: `^` + unit + `: Service (?:hold-off time over|RestartSec=\S+ expired), scheduling restart`,
		Example: "mar 07 13:28:11 miniflux systemd[1]: miniflux.service: Service hold-off time over, scheduling restart.", Gives: "of=miniflux"},
	{Name: "systemd gives up", From: "systemd", Has: "repeated too quickly", Kind: kindFailure, Match: `^(?:` + unit + `: [Ss]tart request repeated too quickly|start request repeated too quickly for (?P<of2>\S+))`,
		Example: "mar 07 13:28:11 miniflux systemd[1]: miniflux.service: Start request repeated too quickly.", Gives: "of=miniflux"},
	{Name: "systemd could not start", From: "systemd", Has: "Failed to start ", Kind: kindFailure, Set: map[string]string{"role": detail}, Match: `^Failed to start (?P<of>.+?)(?: - .*)?\.?$`,
		Example: "mar 07 13:28:11 miniflux systemd[1]: Failed to start Miniflux Feed Reader.", Gives: "of=Miniflux Feed Reader"},
	{Name: "systemd: a dependency failed", From: "systemd", Has: "Dependency failed for ", Kind: kindFailure, Set: map[string]string{"needs": "another unit"}, Match: `^Dependency failed for (?P<of>.+?)(?: - .*)?\.?$`,
		Example: "Nov 24 16:16:46 vm systemd[1]: Dependency failed for need.service - Needs oneshot.", Gives: "of=need needs=another unit"},
	{Name: "systemd: a job failed", From: "systemd", Has: "failed with result", Kind: kindFailure, Set: map[string]string{"role": detail}, Match: `^` + unit + `: Job \S+ failed with result '(?P<why>[\w-]+)'`,
		Example: "Nov 24 16:16:46 vm systemd[1]: need.service: Job need.service/start failed with result 'dependency'.", Gives: "of=need why=dependency"},
	{Name: "systemd's watchdog", From: "systemd", Has: "Watchdog timeout", Kind: kindOrder, Set: map[string]string{"signal": "SIGABRT"}, Match: `^` + unit + `: Watchdog timeout`,
		Example: "Nov 24 16:16:45 vm systemd[1]: wd.service: Watchdog timeout (limit 1s)!", Gives: "of=wd signal=SIGABRT"},
	{Name: "systemd kills", From: "systemd", Has: "with signal SIG", Kind: kindOrder, Match: `^` + unit + `: Killing process (?P<child>\d+) \(.*?\) with signal (?P<signal>SIG\w+)`,
		Example: "janv. 26 08:17:31 zulip systemd[1]: rabbitmq-server.service: Killing process 2997934 (beam.smp) with signal SIGKILL.", Gives: "child=2997934 of=rabbitmq-server signal=SIGKILL"},
	{Name: "systemd kills on request", From: "systemd", Has: "on client request", Kind: kindOrder, Match: `^` + unit + `: Sent signal (?P<signal>SIG\w+) to main process (?P<child>\d+)`,
		Example: "Nov 24 16:17:50 vm systemd[1]: web.service: Sent signal SIGKILL to main process 69 (web.sh) on client request.", Gives: "child=69 of=web signal=SIGKILL"},
	{Name: "systemd loses patience", From: "systemd", Has: "timed out. ", Kind: kindOrder, Match: `^` + unit + `: (?:State '\S+'|[Ss]t(?:art|op) operation|\S+ operation) timed out\. (?:Killing|Terminating|Aborting|Skipping SIGKILL)`,
		Example: "Nov 24 16:16:42 vm systemd[1]: deaf.service: State 'stop-sigterm' timed out. Killing.", Gives: "of=deaf"},
	{Name: "systemd: runtime limit", From: "systemd", Has: "runtime time limit", Kind: kindFailure, Match: `^` + unit + `: Service reached runtime time limit`,
		Example: "Nov 24 16:16:44 vm systemd[1]: limited.service: Service reached runtime time limit. Stopping.", Gives: "of=limited"},
	{Name: "systemd: OOM", From: "systemd", Has: "OOM killer", Kind: kindOrder, Set: map[string]string{"signal": "SIGKILL"}, Match: `^` + unit + `: A process of this unit has been killed by the OOM killer`,
		Example: "Nov 24 16:16:44 vm systemd[1]: web.service: A process of this unit has been killed by the OOM killer.", Gives: "of=web signal=SIGKILL"},
	{Name: "systemd-oomd kills", Has: "due to memory", Kind: kindOrder, Set: map[string]string{"signal": "SIGKILL"}, Match: `^Killed /\S*/(?P<of>[^/\s]+) due to memory`,
		Example: "Nov 24 16:16:44 vm systemd-oomd[400]: Killed /system.slice/web.service due to memory pressure for /system.slice being 70%", Gives: "of=web signal=SIGKILL"},
	{Name: "systemd: left behind", From: "systemd", Has: "after unit stopped", Kind: kindStep, Match: `^` + unit + `: Unit process (?:\d+) \(.*?\) remains running after unit stopped`,
		Example: "Jun 02 09:28:37 systemd[1983]: hermes-gateway.service: Unit process 42104 (adb) remains running after unit stopped.", Gives: "of=hermes-gateway"},
	{Name: "systemd: core dumped", From: "systemd-coredump", Has: "dumped core", Kind: kindFailure, Match: `^Process (?P<child>\d+) \((?P<of>[^)]+)\) of user \S+ dumped core`,
		Example: "Nov 24 16:16:44 vm systemd-coredump[77]: Process 71 (web) of user 0 dumped core.", Gives: "child=71 of=web"},
	{Name: "the machine goes down", From: "systemd-logind systemd-shutdown", Has: "The system will ", Kind: kindOrder, Match: `^The system will (?:reboot|power off|halt|suspend) now`,
		Example: "Nov 24 16:16:44 vm systemd-logind[77]: The system will reboot now!"},
	{Name: "systemd cannot execute", Has: "Failed at step ", Kind: kindFailure, Match: `^` + unit + `: Failed at step (?P<why>\w+) spawning`,
		Example: "Nov 24 16:16:46 vm (nothere)[120]: nofile.service: Failed at step EXEC spawning /svc/nothere: No such file or directory", Gives: "of=nofile why=EXEC"},

	{Name: "kernel: OOM", From: "kernel", Has: "Killed process ", Kind: kindOrder, Set: map[string]string{"signal": "SIGKILL"}, Match: `ut of memory: Killed process (?P<child>\d+),? \((?P<of>[^)]*)\)`,
		Example: "Jul 23 18:56:46 node kernel: Memory cgroup out of memory: Killed process 38287 (dd) total-vm:21724kB", Gives: "child=38287 of=dd signal=SIGKILL"},
	{Name: "kernel: OOM, before 5.0", From: "kernel", Has: "Kill process ", Kind: kindOrder, Set: map[string]string{"signal": "SIGKILL"}, Match: `ut of memory: Kill process (?P<child>\d+) \((?P<of>[^)]*)\)`,
		Example: "[ 1234.567890] Out of memory: Kill process 77 (dd) score 900 or sacrifice child", Gives: "child=77 of=dd signal=SIGKILL"},
	{Name: "kernel: OOM, its choice", From: "kernel", Has: "oom-kill:", Kind: kindOrder, Set: map[string]string{"signal": "SIGKILL", "text": "out of memory: the kernel kills it"}, Match: `^oom-kill:constraint=.*,task=(?P<of>[^,]+),pid=(?P<child>\d+)`,
		Example: "Jul 23 18:56:46 node kernel: oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task=dd,pid=38287,uid=0", Gives: "child=38287 of=dd signal=SIGKILL"},
	{Name: "kernel: segfault", From: "kernel", Has: "segfault at", Kind: kindFailure, Set: map[string]string{"signal": "SIGSEGV"}, Match: `^(?P<of>[^\[\s]+)\[(?P<child>\d+)\]: segfault at`,
		Example: "[ 1234.567890] web[77]: segfault at 0 ip 00000000004a6354 sp 00007ffd error 4 in web", Gives: "child=77 of=web signal=SIGSEGV"},
	{Name: "kernel: trap", From: "kernel", Has: "traps: ", Kind: kindFailure, Match: `^traps: (?P<of>[^\[\s]+)\[(?P<child>\d+)\] (?P<why>general protection fault|trap \w+ \w+)`,
		Example: "[ 1234.567890] traps: web[77] general protection fault ip:4a6354 sp:7ffd error:0 in web", Gives: "child=77 of=web why=general protection fault"},
}
