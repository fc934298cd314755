package timeline

import (
	"strings"
	"testing"
)

// Real lines of an outage made on purpose, four chains of nginx, gunicorn, redis and
// the kernel: redis got SIGKILL, the kernel killed a worker for its memory, gunicorn got
// SIGTERM, nginx SIGQUIT. The kernel counts from the boot; a process whose end two
// inputs tell says when that was. nginx names what it lost by the address alone, and what
// it loses after a further stop is a further event. The worker's line comes from a
// program without pids in its lines.
func TestOutage(t *testing.T) {
	got := outcome(t, Read(
		lines("loop", `2026-11-24T19:44:20.304Z ERROR loop: process redis (15526) exited with status 137
2026-11-24T19:44:35.916Z ERROR loop: process gunicorn (15527) exited with status 0
2026-11-24T19:44:42.215Z ERROR loop: process nginx (15525) exited with status 0
`),
		lines("redis", `15526:C 24 Nov 2026 19:44:14.321 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo
15526:M 24 Nov 2026 19:44:14.322 * Running mode=standalone, port=21082.
15842:C 24 Nov 2026 19:44:22.388 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo
`),
		lines("gunicorn", `[2026-11-24 19:44:15 +0000] [15527] [INFO] Starting gunicorn 20.1.0
[2026-11-24 19:44:15 +0000] [15527] [INFO] Listening at: http://127.0.0.1:21081 (15527)
[2026-11-24 19:44:15 +0000] [15548] [INFO] Booting worker with pid: 15548
[2026-11-24 19:44:15 +0000] [15549] [INFO] Booting worker with pid: 15549
2026-11-24 19:44:20,476 ERROR app.views: redis: connection to 127.0.0.1:21082 failed
Traceback (most recent call last):
ConnectionRefusedError: [Errno 111] Connection refused
[2026-11-24 19:44:28 +0000] [15527] [WARNING] Worker with pid 15548 was terminated due to signal 9
[2026-11-24 19:44:28 +0000] [16152] [INFO] Booting worker with pid: 16152
[2026-11-24 19:44:34 +0000] [15527] [INFO] Handling signal: term
[2026-11-24 19:44:34 +0000] [16152] [INFO] Worker exiting (pid: 16152)
[2026-11-24 19:44:35 +0000] [15527] [INFO] Shutting down: Master
`),
		lines("nginx", `2026/11/24 19:44:14 [notice] 15525#15525: start worker processes
2026/11/24 19:44:28 [error] 15531#15531: *79 upstream prematurely closed connection while reading response header from upstream, client: 127.0.0.1, server: , request: "GET /eat HTTP/1.1", upstream: "http://127.0.0.1:21081/eat", host: "127.0.0.1:21080"
2026/11/24 19:44:35 [error] 15531#15531: *133 connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: , request: "GET / HTTP/1.1", upstream: "http://127.0.0.1:21081/", host: "127.0.0.1:21080"
2026/11/24 19:44:42 [notice] 15525#15525: signal 3 (SIGQUIT) received from 15517, shutting down
`),
		lines("dmesg", `[13359.254651] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/out,task_memcg=/out,task=gunicorn,pid=15548,uid=0
[13359.254663] Memory cgroup out of memory: Killed process 15548 (gunicorn) total-vm:183192kB, anon-rss:166168kB
`)))
	const want = `
1 exit of redis (SIGKILL) root, no line says why
5 cut of gunicorn <- 1 by evidence
3 start of redis <- 1 by evidence
1 order of kernel (SIGKILL) root
8 exit of gunicorn worker (SIGKILL) <- 1 by evidence
9 start of gunicorn worker <- 8 by evidence
2 cut of nginx <- 8 by evidence
10 signal of gunicorn (SIGTERM) root, no line says why
11 exit of gunicorn worker <- 10 by evidence
12 exit of gunicorn <- 10 by evidence
3 cut of nginx <- 12 by evidence
4 signal of nginx (SIGQUIT) root, no line says why
3 exit of nginx <- 4 by evidence
`
	if got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%swant%s", got, want)
	}
}

// A further outage made on purpose: a Node.js server threw, another one was stopped by
// supervisord and ignored it, postgres was stopped. haproxy wrote each line twice, first
// without a clock, and the stack trace has none: supervisord says when that was.
func TestSecondOutage(t *testing.T) {
	got := outcome(t, Read(
		lines("supervisord", `2026-11-24 20:01:22,771 INFO spawned: 'web1' with pid 12147
2026-11-24 20:01:22,796 INFO spawned: 'web2' with pid 12150
2026-11-24 20:01:31,777 WARN exited: web1 (exit status 1; not expected)
2026-11-24 20:01:32,782 INFO spawned: 'web1' with pid 12303
2026-11-24 20:01:38,520 INFO waiting for web2 to stop
2026-11-24 20:01:40,521 INFO waiting for web2 to stop
2026-11-24 20:01:40,521 WARN killing 'web2' (12150) with SIGKILL
2026-11-24 20:01:41,546 WARN stopped: web2 (terminated by SIGKILL)
`),
		lines("web1", `{"level":30,"time":1795550484081,"pid":12147,"hostname":"host","name":"web1","msg":"connected to postgres"}
/tmp/web.js:8
const srv=http.createServer((q,r)=>{if(q.url=='/boom')setImmediate(()=>{throw new Error('boom of '+name)});else r.end('ok')});
                                                                        ^

Error: boom of web1
    at Immediate.<anonymous> (/tmp/web.js:8:79)
    at process.processImmediate (node:internal/timers:483:21)

Node.js v20.20.2
{"level":30,"time":1795550495480,"pid":12303,"hostname":"host","name":"web1","msg":"connected to postgres"}
`),
		lines("web2", `{"level":30,"time":1795550498522,"pid":12150,"hostname":"host","name":"web2","msg":"received SIGTERM, shutting down"}
`),
		lines("haproxy", `[WARNING]  (12138) : Server b/web1 is DOWN, reason: Layer4 connection problem, info: "Connection refused"
2026-11-24T20:01:32.558719+00:00 Server b/web1 is DOWN, reason: Layer4 connection problem, info: "Connection refused"
[WARNING]  (12138) : Server b/web1 is UP, reason: Layer7 check passed, code: 200, check duration: 82ms.
2026-11-24T20:01:36.383304+00:00 Server b/web1 is UP, reason: Layer7 check passed, code: 200, check duration: 82ms.
[WARNING]  (12138) : Server b/web2 is DOWN, reason: Layer4 connection problem, info: "Connection refused"
2026-11-24T20:01:41.880740+00:00 Server b/web2 is DOWN, reason: Layer4 connection problem, info: "Connection refused"
`)))
	const want = `
10 exit of web1 root, no line says why
1 cut of haproxy <- 10 by evidence
4 start of web1 <- 10 by evidence
3 reconnect of haproxy <- 1 by evidence <- 4 by evidence
5 order of supervisord root
1 signal of web2 (SIGTERM) <- 5 by evidence
7 order of supervisord (SIGKILL) <- 5 by evidence
8 exit of web2 (SIGKILL) <- 7 by evidence
5 cut of haproxy <- 8 by evidence
`
	if got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%swant%s", got, want)
	}
}

// A third one: two redis, each with a log, of which the replica lost the other; and
// gunicorn, whose worker hung 8 s after a reload had replaced the ones before.
func TestThirdOutage(t *testing.T) {
	got := outcome(t, Read(
		lines("loop", "2026-11-24T20:20:01.894Z ERROR loop: process master (23475) exited with status 137\n"),
		lines("master", `23475:C 24 Nov 2026 20:19:49.894 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo
25915:C 24 Nov 2026 20:20:03.922 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo
`),
		lines("replica", `23470:C 24 Nov 2026 20:19:49.885 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo
23470:S 24 Nov 2026 20:20:01.886 * Connection with master lost.
23470:S 24 Nov 2026 20:20:09.289 * MASTER <-> REPLICA sync: Finished with success
`),
		lines("gunicorn", `[2026-11-24 20:19:50 +0000] [23471] [INFO] Starting gunicorn 20.1.0
[2026-11-24 20:19:50 +0000] [23691] [INFO] Booting worker with pid: 23691
[2026-11-24 20:20:08 +0000] [23471] [INFO] Handling signal: hup
[2026-11-24 20:20:08 +0000] [26235] [INFO] Booting worker with pid: 26235
[2026-11-24 20:20:08 +0000] [23691] [INFO] Worker exiting (pid: 23691)
[2026-11-24 20:20:16 +0000] [23471] [CRITICAL] WORKER TIMEOUT (pid:26235)
[2026-11-24 20:20:16 +0000] [26235] [INFO] Worker exiting (pid: 26235)
[2026-11-24 20:20:17 +0000] [26797] [INFO] Booting worker with pid: 26797
`)))
	const want = `
1 exit of redis (SIGKILL) root, no line says why
2 cut of redis <- 1 by evidence
2 start of redis <- 1 by evidence
3 reconnect of redis <- 2 by evidence <- 2 by evidence
6 order of gunicorn (SIGABRT) root
7 exit of gunicorn worker <- 6 by evidence
8 start of gunicorn worker <- 7 by evidence
3 signal of gunicorn (SIGHUP) root, no line says why
4 start of gunicorn worker <- 3 by evidence
5 exit of gunicorn worker <- 3 by evidence
`
	if got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%swant%s", got, want)
	}
}

// Times since the boot that no other input places are none, if the others have dates.
func TestSinceBoot(t *testing.T) {
	oom := lines("dmesg", "[13359.254663] Out of memory: Killed process 77 (web) total-vm:183192kB\n")
	got := written(t, Read(oom, lines("log", "2026-11-24T19:44:35Z INFO app: Received SIGTERM\n")))
	if !strings.Contains(got, "no clock") || !strings.Contains(got, "no line says when that was") {
		t.Errorf("%s", got)
	}
}

// An effect may stand before its cause in the logs by as much as the cause's rule says.
func TestEarly(t *testing.T) {
	rule := `{"rules":[{"name":"slow","from":"ours","has":"noticed the death","match":"^noticed the death of (?P<of>\\w+)","kind":"exit","set":{"status":"9"},EARLY
		"example":"2026-05-20T10:00:00Z host ours[7]: noticed the death of redis"}]}`
	for early, want := range map[string]string{`"early":"2s",`: "cut of app <- 2", "": "cut of app root"} {
		tables, err := LoadTables(strings.NewReader(strings.ReplaceAll(rule, "EARLY", early)))
		if err != nil {
			t.Fatal(err)
		}
		tl, err := Options{Tables: tables}.Read(lines("log", "2026-05-20T10:00:00.000+00:00 host app[9]: Lost connection to redis\n2026-05-20T10:00:01.500+00:00 host ours[7]: noticed the death of redis\n"))
		if got := outcome(t, tl); err != nil || !strings.Contains(got, want) {
			t.Errorf("%q: want %s, got\n%s%v", early, want, got, err)
		}
	}
}
