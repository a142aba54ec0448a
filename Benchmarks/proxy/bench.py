"""The proxy beside nginx, HAProxy and Envoy: one plain hop, and a pair that speaks mutual TLS to each other.

All run at once, idle but for the one measured; rounds are interleaved, so that the machine's other work falls on all alike. CPU is
what /proc says of a proxy's own processes, over the requests answered. Requests carry 12 headers.
"""

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

HEADERS = [
    "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-encoding: gzip, deflate, br",
    "accept-language: en-GB,en;q=0.9,de;q=0.7",
    "cache-control: no-cache",
    "cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes",
    "referer: http://shop.example.com/catalog/items?page=2",
    "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    "x-tenant: example",
    "x-trace: 4bf92f3577b34da6a3ce929d0e0e4736",
    "x-client-version: 12.4.1",
    "x-experiment: a=1,b=2,c=3",
]
BODY = "hello from the origin, sixty-six bytes of body for every request.\n"
HERTZ = os.sysconf("SC_CLK_TCK")
SECONDS = 2


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def wait_for(port, process):
    limit = time.time() + 10
    while time.time() < limit:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended: see its log in the scratch directory")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args[0]} does not listen on {port}")


def family(pid):
    """A process and its descendants."""
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in file.read().split():
                    found += family(int(child))
    except OSError:
        pass
    return found


def cpu(pids):
    """CPU seconds used so far."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / HERTZ


def rss(pids):
    """Resident megabytes."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as file:
            total += int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))
    return total / 1024


class Scratch:
    """Processes and files of one run, gone at its end."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="weft-bench-")
        self.processes = []

    def write(self, name, text):
        path = os.path.join(self.path, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self, name, command):
        log = open(os.path.join(self.path, name + ".log"), "w")
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.path)
        self.processes.append(process)
        return process

    def end(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(6)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.path, ignore_errors=True)


def certificates(scratch):
    def run(command):
        subprocess.run(command, shell=True, check=True, cwd=scratch.path, stderr=subprocess.DEVNULL)

    run("openssl ecparam -name prime256v1 -genkey -noout -out ca.key")
    run("openssl req -x509 -new -key ca.key -subj /CN=bench -days 2 -out ca.crt")
    for name in ("client", "server"):
        scratch.write(
            f"{name}.ext",
            f"subjectAltName=URI:spiffe://cluster.local/ns/bench/sa/{name}\nextendedKeyUsage=serverAuth,clientAuth\n",
        )
        run(f"openssl ecparam -name prime256v1 -genkey -noout -out {name}.key")
        run(f"openssl req -new -key {name}.key -subj / -out {name}.csr")
        run(f"openssl x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.crt")
        run(f"cat {name}.crt {name}.key > {name}.pem")


def start_origin(scratch):
    port = free_port()
    os.makedirs(os.path.join(scratch.path, "www"))
    with open(os.path.join(scratch.path, "www/big"), "wb") as file:
        file.write(os.urandom(1 << 20))
    temporary = " ".join(f"{kind}_temp_path {scratch.path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = scratch.write(
        "origin.conf",
        f"""daemon off; worker_processes 1; pid {scratch.path}/origin.pid; error_log {scratch.path}/origin.err; user root;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; {temporary}
  server {{ listen 127.0.0.1:{port} reuseport; location / {{ return 200 "{BODY.strip()}\\n"; }} location /big {{ root {scratch.path}/www; }} }} }}
""",
    )
    process = scratch.start("origin", ["nginx", "-c", config])
    wait_for(port, process)
    return port


def ours(scratch, programs, origin):
    program = os.path.join(programs, "meshproxy")
    plain, front, back = free_port(), free_port(), free_port()

    def identity(name):
        files = {"certificateChainFile": ".crt", "privateKeyFile": ".key"}
        found = {key: f"{scratch.path}/{name}{end}" for key, end in files.items()}
        return found | {"trustRootsFile": f"{scratch.path}/ca.crt"}

    def gateway(port, endpoint):
        rules = [{"name": f"route {n}", "matches": [{"path": {"prefix": f"/api/v{n}"}}], "backends": [{"backend": "o", "weight": 1}]}
                 for n in range(6)]
        rules.append({"name": "all", "backends": [{"backend": "o", "weight": 1}]})
        return {
            "workload": {"name": "client", "gatewayListeners": [{"name": "http", "port": port, "routes": [{"hosts": ["*"], "rules": rules}]}]},
            "backends": [{"name": "o", "service": "origin.bench.svc.cluster.local", "namespace": "bench", "endpoints": [endpoint]}],
        }

    def run(name, config, port):
        path = scratch.write(f"{name}.json", json.dumps(config))
        process = scratch.start(name, [program, "run", "--config", path, "--concurrency", "1", "--drain-seconds", "0"])
        wait_for(port, process)
        return process.pid

    target = {"address": "127.0.0.1", "port": origin, "workload": "origin"}
    one = run("ours-plain", gateway(plain, target), plain)
    server = {
        "workload": {"name": "server", "mutualTLS": "STRICT", "inboundPorts": [{"port": origin, "protocol": "http"}]},
        "identity": identity("server"),
        "listeners": [{"side": "inbound", "address": "127.0.0.1", "port": back, "destination": f"127.0.0.1:{origin}"}],
    }
    far = run("ours-server", server, back)
    client = gateway(front, {"address": "127.0.0.1", "port": back, "principal": "spiffe://cluster.local/ns/bench/sa/server"})
    client["identity"] = identity("client")
    near = run("ours-client", client, front)
    return {"plain": (plain, [one]), "pair": (front, [near, far])}


def nginx(scratch, origin):
    port = free_port()
    temporary = " ".join(f"{kind}_temp_path {scratch.path}/n-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = scratch.write(
        "nginx.conf",
        f"""daemon off; worker_processes 1; pid {scratch.path}/nginx.pid; error_log {scratch.path}/nginx.err; user root;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; {temporary}
  upstream o {{ server 127.0.0.1:{origin}; keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
""",
    )
    process = scratch.start("nginx", ["nginx", "-c", config])
    wait_for(port, process)
    return {"plain": (port, family(process.pid))}


def haproxy(scratch, origin):
    plain, front, back = free_port(), free_port(), free_port()
    base = """global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  http-reuse always
"""
    tls = f"ssl crt {scratch.path}/%s.pem ca-file {scratch.path}/ca.crt verify required"

    def run(name, text, port):
        process = scratch.start(name, ["haproxy", "-db", "-f", scratch.write(f"{name}.cfg", base + text)])
        wait_for(port, process)
        return process.pid

    one = run("haproxy-plain", f"listen p\n  bind 127.0.0.1:{plain}\n  server o 127.0.0.1:{origin} pool-max-conn 256\n", plain)
    far = run(
        "haproxy-server", f"listen p\n  bind 127.0.0.1:{back} {tls % 'server'}\n  server o 127.0.0.1:{origin} pool-max-conn 256\n", back)
    near = run(
        "haproxy-client",
        f"listen p\n  bind 127.0.0.1:{front}\n  server o 127.0.0.1:{back} pool-max-conn 256 {tls % 'client'}\n", front)
    return {"plain": (plain, [one]), "pair": (front, [near, far])}


def envoy(scratch, program, origin):
    plain, front, back = free_port(), free_port(), free_port()

    def secrets(name):
        return {
            "tls_certificates": [
                {"certificate_chain": {"filename": f"{scratch.path}/{name}.crt"}, "private_key": {"filename": f"{scratch.path}/{name}.key"}}],
            "validation_context": {"trusted_ca": {"filename": f"{scratch.path}/ca.crt"}},
        }

    def config(port, target, listener_tls=None, cluster_tls=None):
        kind = "type.googleapis.com/envoy.extensions"
        manager = {
            "@type": f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "in",
            "route_config": {"virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "o", "timeout": "60s"}}]}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{kind}.filters.http.router.v3.Router"}}],
        }
        chain = {"filters": [{"name": "hcm", "typed_config": manager}]}
        cluster = {
            "name": "o", "type": "STATIC", "connect_timeout": "2s",
            "load_assignment": {"cluster_name": "o", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": target}}}}]}]},
        }
        if listener_tls:
            chain["transport_socket"] = {"name": "tls", "typed_config": {
                "@type": f"{kind}.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": secrets(listener_tls),
                "require_client_certificate": True}}
        if cluster_tls:
            cluster["transport_socket"] = {"name": "tls", "typed_config": {
                "@type": f"{kind}.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": secrets(cluster_tls)}}
        return {"static_resources": {"clusters": [cluster], "listeners": [
            {"name": "l", "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "filter_chains": [chain]}]}}

    def run(name, number, settings, port):
        path = scratch.write(f"{name}.yaml", json.dumps(settings))
        process = scratch.start(
            name, [program, "-c", path, "--concurrency", "1", "--base-id", str(number), "-l", "error", "--use-dynamic-base-id"])
        wait_for(port, process)
        return process.pid

    one = run("envoy-plain", 1, config(plain, origin), plain)
    far = run("envoy-server", 2, config(back, origin, listener_tls="server"), back)
    near = run("envoy-client", 3, config(front, back, cluster_tls="client"), front)
    return {"plain": (plain, family(one)), "pair": (front, family(near) + family(far))}


def load(port, path="/items/17", connections=64, seconds=SECONDS):
    """One run of wrk: requests answered, and p50 and p99 in milliseconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for header in HEADERS:
        command += ["-H", header]
    text = subprocess.run(command + [f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True).stdout
    errors = re.search(r"Socket errors: (.*)|Non-2xx.*: (\d+)", text)
    if errors:
        raise RuntimeError(f"wrk on port {port}: {errors.group(0)}")

    def latency(percent):
        number, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    return int(re.search(r"(\d+) requests in", text).group(1)), latency(50), latency(99)


def paced(port):
    """p50 and p99 in milliseconds at about 1,000 requests a second over 16 connections."""
    command = ["hey", "-z", "2s", "-c", "16", "-q", "62"]
    for header in HEADERS:
        command += ["-H", header]
    text = subprocess.run(command + [f"http://127.0.0.1:{port}/items/17"], capture_output=True, text=True, check=True).stdout
    return [float(re.search(rf"{percent}%+ in ([\d.]+) secs", text).group(1)) * 1000 for percent in (50, 99)]


def measure(programs, rounds=5):
    scratch = Scratch()
    try:
        return measure_in(scratch, programs, rounds)
    finally:
        scratch.end()


def measure_in(scratch, programs, rounds):
    certificates(scratch)
    origin = start_origin(scratch)
    subjects = {"ours": ours(scratch, programs, origin), "haproxy": haproxy(scratch, origin), "nginx": nginx(scratch, origin)}
    tools = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), ".build/tools")
    found = [path for path in (f"{tools}/bin/envoy", f"{tools}/envoy/bin/envoy", shutil.which("envoy") or "") if os.path.exists(path)]
    if found:
        subjects["envoy"] = envoy(scratch, found[0], origin)
    idle = {name: rss(kinds["plain"][1]) for name, kinds in subjects.items()}
    runs = [(kind, name) for kind in ("plain", "pair") for name in subjects if kind in subjects[name]]
    for kind, name in runs:
        load(subjects[name][kind][0], seconds=1)
    seen = {run: {"cpu": [], "p50": [], "p99": []} for run in runs}
    bulk = {run: [] for run in runs if run[1] in ("ours", "envoy")}
    pace = {run: [] for run in runs}
    for number in range(rounds):
        # Another one goes first each round.
        for kind, name in runs[number % len(runs):] + runs[:number % len(runs)]:
            port, pids = subjects[name][kind]
            before = cpu(pids)
            count, p50, p99 = load(port)
            figures = seen[(kind, name)]
            figures["cpu"].append((cpu(pids) - before) / count * 1e6)
            figures["p50"].append(p50)
            figures["p99"].append(p99)
        if number < 2:
            for kind, name in bulk:
                port, pids = subjects[name][kind]
                before = cpu(pids)
                count, _, _ = load(port, "/big", 16, 2)
                bulk[(kind, name)].append((cpu(pids) - before) / count * 1e6)
            if shutil.which("hey"):
                for kind, name in runs:
                    pace[(kind, name)].append(paced(subjects[name][kind][0]))
    return rows(subjects, seen, bulk, pace, idle)


def rows(subjects, seen, bulk, pace, idle):
    titles = {"plain": "proxy one hop", "pair": "proxy mTLS pair"}
    found = []

    def add(name, unit, own, others):
        for peer, value in others.items():
            found.append({"name": name, "ours": round(own, 3), "unit": unit, "peer": peer, "peer_value": round(value, 3)})

    for kind, title in titles.items():
        peers = [name for name in subjects if name != "ours" and kind in subjects[name]]
        for what, unit, take in (("CPU median", "us/request", statistics.median), ("CPU minimum", "us/request", min)):
            add(f"{title}, {what}", unit, take(seen[(kind, "ours")]["cpu"]), {peer: take(seen[(kind, peer)]["cpu"]) for peer in peers})
        for what in ("p50", "p99"):
            add(
                f"{title}, {what} saturated", "ms", statistics.median(seen[(kind, "ours")][what]),
                {peer: statistics.median(seen[(kind, peer)][what]) for peer in peers})
        if pace[(kind, "ours")]:
            for place, what in enumerate(("p50", "p99")):
                add(
                    f"{title}, {what} at 1,000/s", "ms", min(run[place] for run in pace[(kind, "ours")]),
                    {peer: min(run[place] for run in pace[(kind, peer)]) for peer in peers})
        if (kind, "envoy") in bulk:
            add(f"{title}, 1 MB body CPU", "us/request", min(bulk[(kind, "ours")]), {"envoy": min(bulk[(kind, "envoy")])})
    add("proxy, idle memory", "MB", idle["ours"], {name: value for name, value in idle.items() if name != "ours"})
    loaded = {name: rss(kinds["plain"][1]) for name, kinds in subjects.items()}
    add("proxy, memory after load", "MB", loaded["ours"], {name: value for name, value in loaded.items() if name != "ours"})
    return found
