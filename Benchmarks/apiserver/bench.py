"""The API server alone: creates, gets, lists and watches over TLS and HTTP/2, its memory, and how fast it is ready."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
import ssl

HERTZ = os.sysconf("SC_CLK_TCK")
PODS = 10_000


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


class Server:
    """One `meshd apiserver` with a state directory that may be kept from start to start."""

    def __init__(self, programs, directory):
        self.programs, self.directory = programs, directory
        self.port = free_port()
        self.log = open(os.path.join(directory, "log"), "a")

    def start(self):
        """Gives the seconds from exec until /readyz says ok."""
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [f"{self.programs}/meshd", "apiserver", "--state", self.directory, "--port", str(self.port), "--log-level", "warning"],
            stdout=self.log, stderr=self.log)
        context = ssl._create_unverified_context()
        while time.monotonic() - begin < 30:
            try:
                with urllib.request.urlopen(f"https://127.0.0.1:{self.port}/readyz", context=context, timeout=5) as answer:
                    if answer.status == 200:
                        return time.monotonic() - begin
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(f"meshd apiserver ended: see {self.directory}/log")
                time.sleep(0.001)
        raise RuntimeError("the server was not ready within 30 s")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def cpu(self):
        """User and system seconds so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / HERTZ

    def memory(self):
        """Proportional set size, MB."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024

    def load(self, mode, **options):
        words = [f"{self.programs}/apiserver-load", f"{self.directory}/kubeconfig", mode]
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        before = self.cpu()
        output = subprocess.run(words, capture_output=True, text=True, timeout=170)
        if output.returncode:
            raise RuntimeError(f"apiserver-load {mode}: {output.stderr[-500:]}")
        report = json.loads(output.stdout)
        report["cpu"] = self.cpu() - before
        if report.get("failures"):
            raise RuntimeError(f"{mode}: requests failed: {report['failures']}")
        return report


def apply(server, manifest):
    """One object, by the administrator's certificate."""
    subprocess.run(
        [os.environ.get("KUBECTL", ".build/tools/bin/kubectl"), "--kubeconfig", f"{server.directory}/kubeconfig", "apply", "-f", "-"],
        input=json.dumps(manifest), text=True, check=True, capture_output=True)


def prepare(server):
    apply(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}})
    apply(server, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "bench"}})


def measure(programs, rounds):
    directory = tempfile.mkdtemp(prefix="weft-bench-")
    rows = []

    def row(name, value, unit):
        rows.append({"name": f"apiserver, {name}", "ours": value, "unit": unit})

    try:
        starts = []
        for _ in range(3):
            empty = tempfile.mkdtemp(prefix="weft-bench-")
            server = Server(programs, empty)
            server.start()  # makes the keys
            server.stop()
            starts.append(server.start())
            time.sleep(1)
            idle = server.memory()
            server.stop()
            shutil.rmtree(empty)
        row("start to readyz, empty", statistics.median(starts), "s")
        row("memory, idle", idle, "MB PSS")

        rows += custom_kinds(programs)
        server = Server(programs, directory)
        server.start()
        prepare(server)
        made = server.load("create", count=PODS, clients=64)
        row("creates of pods, 64 clients", made["per_second"], "/s")
        row("creates of pods, CPU each", made["cpu"] / made["requests"] * 1e6, "us")
        row("creates of pods, p99", made["p99_ms"], "ms")
        got = server.load("get", count=60_000, clients=64, pods=PODS)
        row("gets, 64 clients", got["per_second"], "/s")
        row("gets, CPU each", got["cpu"] / got["requests"] * 1e6, "us")
        listed = server.load("list", count=5, clients=1)
        row("list of 10,000 pods, median", listed["p50_ms"], "ms")
        row("list of 10,000 pods, CPU", listed["cpu"] / listed["requests"] * 1e3, "ms")
        writes = 1000
        seen = server.load("watch", count=writes, clients=64, watches=1000, rate=100)
        if seen["events"] < 0.95 * writes * 1000:
            raise RuntimeError(f"watches: {seen['events']} events came of {writes * 1000}")
        row("1,000 watchers, 100 writes/s, event p99", seen["p99_ms"], "ms")
        row("1,000 watchers, 100 writes/s, CPU", seen["cpu"] / (writes / 100), "cores")
        seen = server.load("watch", count=writes, clients=1000, watches=1000, rate=100)
        if seen["events"] < 0.95 * writes * 1000:
            raise RuntimeError(f"watches: {seen['events']} events came of {writes * 1000}")
        row("1,000 watchers on as many connections, event p99", seen["p99_ms"], "ms")
        row("1,000 watchers on as many connections, CPU", seen["cpu"] / (writes / 100), "cores")
        watching = subprocess.Popen(
            [f"{programs}/apiserver-load", f"{directory}/kubeconfig", "watch", "--count", "100", "--rate", "20"],
            stdout=subprocess.DEVNULL)
        time.sleep(4)
        row("memory, 10,000 pods and 1,000 watchers", server.memory(), "MB PSS")
        watching.wait(60)
        server.stop()
        row("start to readyz, 10,000 objects", statistics.median([restart(server) for _ in range(3)]), "s")
    finally:
        if server.process.poll() is None:
            server.process.kill()
        shutil.rmtree(directory, ignore_errors=True)
    return rows


def custom_kinds(programs):
    spec = importlib.util.spec_from_file_location("bench_custom", os.path.join(os.path.dirname(__file__), "custom.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    directory = tempfile.mkdtemp(prefix="weft-bench-")
    server = Server(programs, directory)
    try:
        server.start()
        return module.measure(server)
    finally:
        server.stop()
        shutil.rmtree(directory)


def restart(server):
    seconds = server.start()
    server.stop()
    return seconds
