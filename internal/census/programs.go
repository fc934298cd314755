package main

import (
	"strings"
	"time"

	"github.com/evenkeel-go/evenkeel/lifecycle/stoptest"
)

// A program is one of the census. In args, env and files, {addr}, {port} and {dir} are as in
// stoptest, and {backend} is the address of what a proxy forwards to.
type program struct {
	name     string
	from     string   // the package that has it
	versions []string // the command that says its version
	build    string   // the folder of the Go module to build, instead of args[0]
	args     []string
	env      []string
	files    map[string]string // in {dir}
	ready    string
	loads    []stoptest.Load
	budget   time.Duration

	signals  []string // those that its docs name for a graceful stop; nil means TERM and INT
	source   string   // where they do; "" if no such page was found
	says     string   // what they say, in short
	promises []stoptest.Promise
	unset    string // settings that would matter, left at their defaults
}

var web = []stoptest.Load{stoptest.Get("/"), stoptest.Upload("/", 64<<10), stoptest.Silent()}

const form, json = "application/x-www-form-urlencoded", "application/json"

var padding = strings.Repeat("x", 64<<10)

var programs = []program{
	{
		name: "caddy", from: "Debian's caddy", versions: []string{"caddy", "version"},
		args: []string{"caddy", "run", "--adapter", "caddyfile", "--config", "{dir}/Caddyfile"},
		env:  []string{"XDG_DATA_HOME={dir}", "XDG_CONFIG_HOME={dir}"},
		files: map[string]string{"Caddyfile": `{
	admin off
	auto_https off
}
http://{addr} {
	bind 127.0.0.1
	reverse_proxy {backend}
}
`},
		loads: web, signals: []string{"INT", "TERM"},
		source:   "https://caddyserver.com/docs/command-line#signals",
		says:     "SIGINT and SIGTERM: graceful exit, which waits for active requests; SIGINT again forces it",
		promises: []stoptest.Promise{stoptest.WorkAnswered, stoptest.SecondForces},
		unset:    "grace_period, which bounds the exit",
	},
	{
		name: "nginx", from: "Debian's nginx-light", versions: []string{"nginx", "-v"},
		args: []string{"nginx", "-p", "{dir}", "-e", "stderr", "-c", "{dir}/nginx.conf"},
		files: map[string]string{"nginx.conf": `daemon off;
user root;
pid {dir}/pid;
events {}
http {
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	server {
		listen {addr};
		location / { proxy_pass http://{backend}; }
	}
}
`},
		loads: web, signals: []string{"QUIT"},
		source:   "https://nginx.org/en/docs/control.html",
		says:     "SIGQUIT: graceful shutdown, workers finish the current requests",
		promises: []stoptest.Promise{stoptest.WorkAnswered},
		unset:    "worker_shutdown_timeout, which bounds the exit, and client_header_timeout (60 s), after which a silent connection is closed",
	},
	{
		name: "haproxy", from: "Debian's haproxy", versions: []string{"haproxy", "-v"},
		args: []string{"haproxy", "-db", "-f", "{dir}/haproxy.cfg"},
		files: map[string]string{"haproxy.cfg": `defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
frontend web
	bind {addr}
	default_backend app
backend app
	server app {backend}
`},
		loads: web, signals: []string{"USR1"},
		source:   "https://docs.haproxy.org/2.6/management.html#4",
		says:     "SIGUSR1: graceful stop, exits when existing connections have closed",
		promises: []stoptest.Promise{stoptest.WorkAnswered},
		unset:    "hard-stop-after, which bounds the exit, and timeout http-request, after which a silent connection is closed",
	},
	{
		name: "gunicorn", from: "Debian's gunicorn", versions: []string{"gunicorn", "--version"},
		args: []string{"gunicorn", "-b", "{addr}", "-k", "gthread", "--threads", "16", "--pythonpath", "{dir}", "app:app"},
		files: map[string]string{"app.py": `import time

def app(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"hel"
    time.sleep(0.3)
    yield b"lo\n"
`},
		loads: web, signals: []string{"TERM"},
		source:   "https://docs.gunicorn.org/en/stable/signals.html",
		says:     "SIGTERM: graceful shutdown, waits for current requests up to graceful_timeout (30 s)",
		promises: []stoptest.Promise{stoptest.WorkAnswered},
	},
	{
		name: "uvicorn", from: "Debian's uvicorn", versions: []string{"uvicorn", "--version"},
		args: []string{"uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--app-dir", "{dir}", "app:app"},
		files: map[string]string{"app.py": `import asyncio

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    await asyncio.sleep(0.3)
    await send({"type": "http.response.body", "body": b"lo\n"})
`},
		loads: web, signals: []string{"TERM", "INT"},
		source:   "https://www.uvicorn.org/server-behavior/#graceful-process-shutdown",
		says:     "stops accepting, and lets active requests and tasks run to completion",
		promises: []stoptest.Promise{stoptest.WorkAnswered},
	},
	{
		name: "prometheus", from: "Debian's prometheus", versions: []string{"prometheus", "--version"},
		args:  []string{"prometheus", "--config.file={dir}/prometheus.yml", "--storage.tsdb.path={dir}/data", "--web.listen-address={addr}"},
		files: map[string]string{"prometheus.yml": "global: {}\n"},
		ready: "/-/ready",
		loads: []stoptest.Load{stoptest.Get("/metrics"), stoptest.UploadOf("/api/v1/query", form, "query=1&padding="+padding), stoptest.Silent()}, signals: []string{"TERM"},
		source: "https://prometheus.io/docs/prometheus/latest/management_api/#quit",
		says:   "SIGTERM: graceful shutdown; not what that means for requests",
	},
	{
		name: "etcd", from: "Debian's etcd-server", versions: []string{"etcd", "--version"},
		args: []string{"etcd", "--data-dir", "{dir}/data", "--listen-client-urls", "http://{addr}", "--advertise-client-urls", "http://{addr}",
			"--listen-peer-urls", "http://{admin}", "--initial-advertise-peer-urls", "http://{admin}", "--initial-cluster", "default=http://{admin}"},
		ready: "/health",
		loads: []stoptest.Load{stoptest.Get("/version"), stoptest.UploadOf("/v3/kv/put", json, `{"key":"Zm9v","value":"`+strings.Repeat("YmFy", 16<<10)+`"}`), stoptest.Silent()},
	},
	{
		name: "registry", from: "Debian's docker-registry", versions: []string{"docker-registry", "--version"},
		args: []string{"docker-registry", "serve", "{dir}/config.yml"},
		files: map[string]string{"config.yml": `version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: "{dir}/data"}}
http: {addr: "{addr}", draintimeout: 8s}
`},
		ready: "/v2/",
		loads: []stoptest.Load{stoptest.Get("/v2/_catalog"), stoptest.UploadOf("/v2/a/blobs/uploads/", "application/octet-stream", padding), stoptest.Silent()}, signals: []string{"TERM"},
		source:   "https://distribution.github.io/distribution/about/configuration/#http",
		says:     "draintimeout: after SIGTERM, how long to wait for connections to drain",
		promises: []stoptest.Promise{stoptest.WorkAnswered, stoptest.InTime},
	},
	{
		name: "influxdb", from: "Debian's influxdb", versions: []string{"influxd", "version"},
		args: []string{"influxd", "-config", "{dir}/influxdb.conf"},
		files: map[string]string{"influxdb.conf": `reporting-disabled = true
bind-address = "{admin}"
[meta]
  dir = "{dir}/meta"
[data]
  dir = "{dir}/data"
  wal-dir = "{dir}/wal"
[http]
  bind-address = "{addr}"
`},
		ready: "/ping",
		loads: []stoptest.Load{stoptest.Get("/ping"), stoptest.UploadOf("/query", form, "q=SHOW+DATABASES&padding="+padding), stoptest.Silent()},
	},
	{
		name: "webhook", from: "Debian's webhook", versions: []string{"webhook", "-version"},
		args: []string{"webhook", "-ip", "127.0.0.1", "-port", "{port}", "-hooks", "{dir}/hooks.json"},
		files: map[string]string{"hooks.json": `[{"id": "slow", "execute-command": "/bin/sleep", "include-command-output-in-response": true,
	"pass-arguments-to-command": [{"source": "string", "name": "0.3"}]}]
`},
		loads: []stoptest.Load{stoptest.Get("/hooks/slow"), stoptest.UploadOf("/hooks/slow", json, `{"padding":"`+padding+`"}`), stoptest.Silent()},
	},
	{
		name: "tomcat", from: "Debian's tomcat10-user", versions: []string{"dpkg-query", "-W", "-f", "Tomcat ${Version}", "tomcat10-user"},
		args: []string{"/usr/share/tomcat10/bin/catalina.sh", "run"},
		env:  []string{"CATALINA_BASE={dir}"},
		files: map[string]string{
			"conf/server.xml": `<Server port="-1"><Service name="Catalina" gracefulStopAwaitMillis="8000">
<Connector address="127.0.0.1" port="{port}"/>
<Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps"/></Engine>
</Service></Server>
`,
			"webapps/ROOT/WEB-INF/web.xml": `<web-app>
<servlet><servlet-name>jsp</servlet-name><servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class></servlet>
<servlet-mapping><servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern></servlet-mapping>
</web-app>
`,
			"webapps/ROOT/slow.jsp": `<% request.getInputStream().readAllBytes(); out.print("hel"); out.flush(); response.flushBuffer(); Thread.sleep(300); %>lo
`,
			"logs/.keep": "", "temp/.keep": "", "work/.keep": "",
		},
		ready: "/slow.jsp",
		loads: []stoptest.Load{stoptest.Get("/slow.jsp"), stoptest.Upload("/slow.jsp", 64<<10), stoptest.Silent()}, signals: []string{"TERM"},
		source: "https://tomcat.apache.org/tomcat-10.1-doc/config/service.html",
		says:   "gracefulStopAwaitMillis: how long to wait for client connections to finish, when the service stops; here 8 s",
	},
	{
		name: "node", from: "NodeSource's nodejs", versions: []string{"node", "--version"},
		args: []string{"node", "{dir}/server.js"},
		files: map[string]string{"server.js": `const server = require('http').createServer((req, res) => {
  req.resume().on('end', () => { res.write('hel'); setTimeout(() => res.end('lo\n'), 300) })
})
server.listen({port}, '127.0.0.1')
process.on('SIGTERM', () => server.close())
`},
		loads: web, signals: []string{"TERM"},
		source: "https://nodejs.org/docs/latest-v20.x/api/http.html#serverclosecallback",
		says:   "server.close: stops accepting, closes idle connections, and ends when no connection is left; here SIGTERM calls it",
		unset:  "a bound for the exit: after 10 s the census killed the server, which still served kept connections",
	},
	{
		name: "deno", from: "npm's deno (written in Rust)", versions: []string{"deno", "--version"},
		args: []string{"deno", "run", "--no-config", "--allow-net", "{dir}/server.ts"},
		env:  []string{"DENO_DIR={dir}/cache", "DENO_NO_UPDATE_CHECK=1"},
		files: map[string]string{"server.ts": `const server = Deno.serve({ hostname: "127.0.0.1", port: {port} }, async (req) => {
  await req.arrayBuffer();
  return new Response(new ReadableStream({
    async start(c) {
      c.enqueue(new TextEncoder().encode("hel"));
      await new Promise((r) => setTimeout(r, 300));
      c.enqueue(new TextEncoder().encode("lo\n"));
      c.close();
    },
  }));
});
const stop = async () => { await server.shutdown(); Deno.removeSignalListener("SIGTERM", stop); };
Deno.addSignalListener("SIGTERM", stop);
`},
		loads: web, signals: []string{"TERM"},
		source:   "https://docs.deno.com/api/deno/~/Deno.HttpServer.shutdown",
		says:     "server.shutdown: accepts no more, pending requests may finish; here SIGTERM calls it",
		promises: []stoptest.Promise{stoptest.WorkAnswered},
	},
	{
		name: "examples/gateway", from: "this repository", build: "examples/gateway",
		args:  []string{"", "-addr", "{addr}", "-admin", "{admin}", "-state", "{dir}", "-settle", "300ms"},
		ready: "http://{admin}/readyz",
		loads: []stoptest.Load{stoptest.Upload("/messages?text=hello", 64<<10), stoptest.Events("/events", ""), stoptest.Silent()}, signals: []string{"TERM", "INT"},
		source:   "../README.md", // as seen from docs
		says:     "the first signal drains, the second forces, the third kills",
		promises: stoptest.Promises(),
	},
}
