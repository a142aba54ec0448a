"""The proxy beside nginx, HAProxy and Envoy: every row that was promised.

All run at once, idle but for the one measured; rounds are interleaved, another one going first each time, so that the machine's other work
falls on all alike. CPU is what /proc says of a proxy's own processes, over the requests answered or the bytes moved. Requests carry 12
headers. Everything is on loopback.

Latency is measured by `demo-service pace`: wrk, hey and h2load wait for an answer before they ask again, so a slow answer delays the requests
behind it and they look fast. Pace gives each request its time beforehand and counts from there. The direct way to the origin is measured in
the same rounds and taken off.
"""

import functools
import json
import os
import re
import shutil
import ssl
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import subjects as proxies  # noqa: E402
from machine import Scratch, cpu, free_port, rss, settled, wait_for  # noqa: E402

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
SECONDS = 2
GIGABYTE = 1e9
PROXIES = ("ours", "haproxy", "nginx", "envoy")


class Table:
    """The figures so far, as rows."""

    def __init__(self):
        self.rows = []

    def add(self, name, unit, own, others):
        for peer, value in others.items():
            self.rows.append({"name": name, "ours": round(own, 3), "unit": unit, "peer": peer, "peer_value": round(value, 3)})

    def alone(self, name, unit, own):
        self.rows.append({"name": name, "ours": round(own, 3), "unit": unit})

    def failed(self, name, why):
        self.rows.append({"name": name, "ours": None, "unit": f"FAILED: {why}", "met": False})


def headers(flag):
    return [word for header in HEADERS for word in (flag, header)]


def wrk(port, path="/items/17", connections=64, seconds=SECONDS):
    """One run of wrk: requests answered, and p50 and p99 in milliseconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers("-H"), f"http://127.0.0.1:{port}{path}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    errors = re.search(r"Socket errors: (.*)|Non-2xx.*: (\d+)", text)
    if errors:
        raise RuntimeError(f"wrk on port {port}: {errors.group(0)}")

    def latency(percent):
        number, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    return int(re.search(r"(\d+) requests in", text).group(1)), latency(50), latency(99)


def h2load(port, seconds=SECONDS):
    """Requests answered over 4 connections of 32 streams each, HTTP/2 without TLS."""
    command = ["h2load", "-c4", "-m32", "-t1", f"--duration={seconds}", "--warm-up-time=0", *headers("-H")]
    text = subprocess.run(command + [f"http://127.0.0.1:{port}/items/17"], capture_output=True, text=True, check=True).stdout
    done, good, bad = (int(re.search(rf"(\d+) {word}", text).group(1)) for word in ("done", "succeeded", "failed"))
    if bad or good == 0 or done != good:
        raise RuntimeError(f"h2load on port {port}: {done} done, {good} succeeded, {bad} failed")
    return good


def paced(programs, port, seconds):
    """p50 and p99 in milliseconds at 1,000 requests a second over 16 connections, open loop, 1 KB answers."""
    command = [os.path.join(programs, "demo-service"), "pace", str(port), "1000", "16", str(seconds), "/kb", *HEADERS]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"pace on port {port}: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout)
    return told["p50"], told["p99"]


def iperf(port, seconds=SECONDS):
    """Bytes moved over one TCP connection."""
    command = ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(seconds), "-l", "128K", "-J"]
    done = subprocess.run(command, capture_output=True, text=True)
    told = json.loads(done.stdout)
    if "error" in told:
        raise RuntimeError(f"iperf3 on port {port}: {told['error']}")
    return told["end"]["sum_received"]["bytes"]


def interleaved(runs, rounds, measure):
    """What `measure` says of each run, round by round."""
    seen = {run: [] for run in runs}
    for number in range(rounds):
        first = number % len(runs)
        for run in runs[first:] + runs[:first]:
            seen[run].append(measure(run))
    return seen


class Bench:
    def __init__(self, scratch, programs, rounds):
        self.scratch, self.programs, self.rounds = scratch, programs, rounds
        self.table = Table()
        proxies.certificates(scratch)
        self.origin = proxies.start_origin(scratch)
        self.bulk = free_port()
        scratch.start("iperf3", ["iperf3", "-s", "-p", str(self.bulk), "-B", "127.0.0.1"])
        self.subjects = {
            "ours": proxies.ours(scratch, programs, self.origin, self.bulk),
            "haproxy": proxies.haproxy(scratch, self.origin, self.bulk), "nginx": proxies.nginx(scratch, self.origin)}
        program = self.envoy_program()
        if program:
            self.subjects["envoy"] = proxies.envoy(scratch, program, self.origin)

    def envoy_program(self):
        tools = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), ".build/tools")
        found = [path for path in (f"{tools}/bin/envoy", f"{tools}/envoy/bin/envoy", shutil.which("envoy") or "") if os.path.exists(path)]
        return found[0] if found else None

    def who(self, kind, names=PROXIES):
        return [name for name in names if kind in self.subjects.get(name, {})]

    def cpu_of(self, kind, name, count):
        """CPU seconds a unit, `count` telling how many units a run took."""
        port, pids = self.subjects[name][kind]
        before = cpu(pids)
        units = count(port)
        return (cpu(pids) - before) / units

    def against(self, name, unit, seen, take):
        """A row for the first against each of the others."""
        own, *others = [take(figures) for figures in seen.values()]
        self.table.add(name, unit, own, dict(zip(list(seen)[1:], others)))

    def run(self, rows):
        parts = [
            ("proxy, idle memory", self.idle),
            ("proxy one hop", functools.partial(self.requests, "plain", "proxy one hop")),
            ("proxy mTLS pair", functools.partial(self.requests, "pair", "proxy mTLS pair")),
            ("proxy HTTP/2 one hop", self.http2), ("proxy mTLS pair, added latency", self.latency),
            ("proxy one hop, 1 MB bodies", functools.partial(self.bodies, "plain", "proxy one hop, 1 MB bodies")),
            ("proxy mTLS pair, 1 MB bodies", functools.partial(self.bodies, "pair", "proxy mTLS pair, 1 MB bodies")),
            ("proxy mTLS pair, sharing", self.sharing), ("proxy TCP bulk", self.tcp),
            ("proxy, memory of 1,000 mTLS connections", self.connections),
            ("proxy, memory of 10,000 routes and endpoints", self.many_routes), ("proxy, exec to first answer", self.first_answer),
        ]
        for name, part in parts:
            if not name.startswith(rows):
                continue
            try:
                part()
            except (RuntimeError, OSError, subprocess.SubprocessError, ValueError, AttributeError) as fault:
                self.table.failed(name, str(fault).splitlines()[0] if str(fault) else type(fault).__name__)
        return self.table.rows

    def idle(self):
        memory = {name: settled(kinds["plain"][1]) for name, kinds in self.subjects.items()}
        self.table.alone("proxy, idle memory", "MB", memory["ours"])
        self.against("proxy, idle memory", "MB", {name: [value] for name, value in memory.items()}, min)

    def sharing(self):
        """The pair, whose requests share HTTP/2 connections when many are in flight, beside one that always and one that never does so."""
        for kind in ("always", "never"):
            self.subjects[f"ours {kind}"] = {"pair": self.subjects["ours"][kind]}
        names, title = ("ours", "ours always", "ours never"), "proxy mTLS pair, sharing"
        self.requests("pair", title, names)
        self.latency(f"{title}, added", names)
        self.bodies("pair", f"{title}, 1 MB bodies", names)

    def requests(self, kind, title, names=PROXIES):
        names = self.who(kind, names)
        for name in names:
            wrk(self.subjects[name][kind][0], seconds=1)
        times = {name: [] for name in names}

        def one(name):
            def count(port):
                answered, p50, p99 = wrk(port)
                times[name].append((p50, p99))
                return answered

            return self.cpu_of(kind, name, count) * 1e6

        seen = interleaved(names, self.rounds, one)
        self.against(f"{title}, CPU median", "us/request", seen, statistics.median)
        self.against(f"{title}, CPU minimum", "us/request", seen, min)
        for place, what in enumerate(("p50", "p99")):
            self.against(
                f"{title}, {what} saturated", "ms", {name: [run[place] for run in runs] for name, runs in times.items()}, statistics.median)

    def http2(self):
        names = self.who("h2")
        for name in names:
            h2load(self.subjects[name]["h2"][0], seconds=1)
        seen = interleaved(names, self.rounds, lambda name: self.cpu_of("h2", name, h2load) * 1e6)
        self.against("proxy HTTP/2 one hop, CPU median", "us/request", seen, statistics.median)
        self.against("proxy HTTP/2 one hop, CPU minimum", "us/request", seen, min)

    def latency(self, title="proxy mTLS pair, added", names=PROXIES):
        ports = {name: self.subjects[name]["pair"][0] for name in self.who("pair", names)} | {"direct": self.origin}
        # Long enough that its p99 is of more than the stalls the machine itself has now and then.
        seconds = 5
        for port in ports.values():
            paced(self.programs, port, 1)
        seen = interleaved(list(ports), self.rounds, lambda name: paced(self.programs, ports[name], seconds))
        for place, what in enumerate(("p50", "p99")):
            direct = statistics.median(run[place] for run in seen["direct"])
            added = {name: [run[place] - direct for run in runs] for name, runs in seen.items() if name != "direct"}
            self.against(f"{title} {what} at 1,000/s", "ms", added, statistics.median)

    def bodies(self, kind, title, names=("ours", "haproxy", "envoy")):
        names = self.who(kind, names)

        def one(name):
            return self.cpu_of(kind, name, lambda port: wrk(port, "/big", 16)[0] * (1 << 20) / GIGABYTE)

        seen = interleaved(names, self.rounds, one)
        self.against(f"{title}, CPU median", "s/GB", seen, statistics.median)
        self.against(f"{title}, CPU minimum", "s/GB", seen, min)

    def tcp(self):
        self.subjects["haproxy splice"] = {"tcp": self.subjects["haproxy"]["splice"]}
        names = self.who("tcp", ("ours", "haproxy", "haproxy splice"))
        seen = interleaved(names, self.rounds, lambda name: self.cpu_of("tcp", name, lambda port: iperf(port) / GIGABYTE))
        self.against("proxy TCP bulk, CPU median", "s/GB", seen, statistics.median)
        self.against("proxy TCP bulk, CPU minimum", "s/GB", seen, min)

    def connections(self):
        """1,000 clients with certificates, each of whom has asked once and stays."""
        context = ssl.create_default_context(cafile=f"{self.scratch.path}/ca.crt")
        context.check_hostname = False
        context.load_cert_chain(f"{self.scratch.path}/client.crt", f"{self.scratch.path}/client.key")
        memory = {}
        for name in self.who("far", ("ours", "haproxy", "envoy")):
            context.set_alpn_protocols(["weft-http/1.1"] if name == "ours" else ["http/1.1"])
            port, pids = self.subjects[name]["far"]
            open_now = []
            try:
                for _ in range(1000):
                    line = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5))
                    line.sendall(b"GET /items/17 HTTP/1.1\r\nhost: bench\r\n\r\n")
                    if not line.recv(4096).startswith(b"HTTP/1.1 200"):
                        raise RuntimeError(f"{name} did not answer connection {len(open_now)}")
                    open_now.append(line)
                memory[name] = [settled(pids)]
            finally:
                for line in open_now:
                    line.close()
        self.table.alone("proxy, memory of 1,000 mTLS connections", "MB", memory["ours"][0])
        self.against("proxy, memory of 1,000 mTLS connections", "MB", memory, min)

    def many_routes(self):
        port, many = free_port(), 10_000
        config = proxies.our_gateway(port, {"address": "127.0.0.1", "port": self.origin}, routes=0)
        rules = config["workload"]["gatewayListeners"][0]["routes"][0]["rules"]
        config["backends"] += [
            {"name": f"b{n}", "service": f"s{n}.bench.svc.cluster.local", "namespace": "bench",
             "endpoints": [{"address": f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", "port": 8080, "workload": f"w{n}"}]} for n in range(many)]
        rules[:0] = [
            {"name": f"route {n}", "matches": [{"path": {"prefix": f"/api/v{n}"}}], "backends": [{"backend": f"b{n}", "weight": 1}]}
            for n in range(many)]
        process = proxies.our_process(self.scratch, self.programs, "ours-many", config, port)
        if wrk(port, seconds=1)[0] == 0:
            raise RuntimeError("no answer behind 10,000 routes")
        self.table.alone("proxy, memory of 10,000 routes and endpoints", "MB", settled([process.pid]))
        self.scratch.stop(process)

    def first_answer(self):
        """From exec to the first answer, the configuration being there."""
        port = free_port()
        path = self.scratch.write("ours-start.json", json.dumps(proxies.our_gateway(port, {"address": "127.0.0.1", "port": self.origin})))
        program = os.path.join(self.programs, "meshproxy")
        command = [program, "run", "--config", path, "--concurrency", "1", "--drain-seconds", "0"]
        request = b"GET /items/17 HTTP/1.1\r\nhost: bench\r\n\r\n"
        silence = os.open(os.devnull, os.O_WRONLY)
        seen = []
        for _ in range(max(self.rounds * 2, 3)):
            start = time.perf_counter()
            pid = os.posix_spawn(program, command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, silence, 2)])
            try:
                seen.append(self.wait_for_answer(port, request, start) * 1000)
            finally:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
        os.close(silence)
        self.table.alone("proxy, exec to first answer, median", "ms", statistics.median(seen))
        self.table.alone("proxy, exec to first answer, minimum", "ms", min(seen))

    @staticmethod
    def wait_for_answer(port, request, start):
        while time.perf_counter() - start < 5:
            try:
                with socket.create_connection(("127.0.0.1", port), 1) as line:
                    line.sendall(request)
                    if line.recv(4096).startswith(b"HTTP/1.1 200"):
                        return time.perf_counter() - start
            except OSError:
                pass
            time.sleep(0.0002)
        raise RuntimeError("no answer within 5 seconds")


def measure(programs, rounds=5, rows=""):
    """`rows`: how the names begin of those wanted."""
    scratch = Scratch()
    try:
        return Bench(scratch, programs, rounds).run(rows)
    finally:
        scratch.end()
