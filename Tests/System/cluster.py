"""A real cluster for the system tests: started by `meshctl up` under a name and ports of its own, ended by `meshctl down`."""

import collections
import http.client
import json
import os
import random
import shutil
import subprocess
import threading
import time

from terminal import Terminal

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


class Cluster:
    def __init__(self, programs, nodes=2):
        self.programs = os.path.abspath(programs)
        self.nodes = nodes
        self.name = "t%06x" % random.randrange(1 << 24)
        base = 20000 + random.randrange(0, 5000) * 2
        self.api_port, self.gateway_port = base, base + 1
        self.run_directory = f"/run/weft/{self.name}"
        self.state_directory = f"/var/lib/weft/{self.name}"
        self.kubeconfig = f"{self.state_directory}/kubeconfig"

    def meshctl(self, *words, check=True, timeout=120, input=None):
        command = [os.path.join(self.programs, "meshctl"), words[0], "--cluster", self.name, *words[1:]]
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, input=input)
        if check and result.returncode != 0:
            raise AssertionError(f"{' '.join(command)} exited {result.returncode}\n{result.stdout}\n{result.stderr}\n{self.log_tail()}")
        return result

    def up(self, *words):
        return self.meshctl("up", "--nodes", str(self.nodes), "--api-port", str(self.api_port),
                            "--gateway-port", str(self.gateway_port), *words)

    def down(self):
        return self.meshctl("down", check=False)

    def kubectl_command(self):
        """The program, and the environment it is run in."""
        program = os.path.join(ROOT, ".build/tools/bin/kubectl")
        if not os.path.exists(program):
            program = shutil.which("kubectl") or program
        return program, dict(os.environ, KUBECONFIG=self.kubeconfig, HOME=self.state_directory)

    def run_kubectl(self, words, timeout, environment=None, **more):
        program, usual = self.kubectl_command()
        return subprocess.run(
            [program, *words], capture_output=True, timeout=timeout, env=environment or usual, cwd=ROOT, **more)

    def start_kubectl(self, *words):
        """One that goes on; whoever starts it ends it."""
        program, environment = self.kubectl_command()
        return subprocess.Popen([program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT)

    def terminal(self, *words):
        """kubectl on a terminal."""
        program, environment = self.kubectl_command()
        return Terminal([program, *words], environment)

    def scratch(self, name):
        """A new folder that goes with the cluster."""
        folder = f"{self.state_directory}/scratch-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        return folder

    def kubectl(self, *words, check=True, timeout=90, input=None):
        result = self.run_kubectl(words, timeout, text=True, input=input)
        if check and result.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)} exited {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def kubectl_from(self, file, *words):
        """What kubectl prints when it reads a file."""
        return self.run_kubectl(words, 90, stdin=file).stdout.decode()

    def objects(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def daemon_pid(self):
        with open(f"{self.run_directory}/meshd.pid") as file:
            return int(file.read().strip())

    def log_tail(self, lines=25):
        try:
            with open(f"{self.state_directory}/meshd.log", errors="replace") as file:
                return "end of meshd.log:\n" + "".join(file.readlines()[-lines:])
        except OSError:
            return ""

    def node_namespace(self, index):
        return f"{self.run_directory}/netns/node-{index}"

    def request(self, path="/", host="frontend.demo", timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway_port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()
        finally:
            connection.close()

    def split(self, count, header="x-catalog-version", threads=4):
        """Sends `count` requests and counts the answers by a header; anything but a 200 counts as the failure it is."""
        counts = collections.Counter()
        lock = threading.Lock()

        def work(share):
            connection = None
            for _ in range(share):
                try:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.gateway_port, timeout=60)
                    connection.request("GET", "/", headers={"Host": "frontend.demo"})
                    answer = connection.getresponse()
                    body = answer.read()
                    key = answer.getheader(header) if answer.status == 200 else f"status {answer.status} {body[:120]!r}"
                    if answer.getheader("connection", "").lower() == "close":
                        connection = None
                except OSError as error:
                    key, connection = f"error {error!r}", None
                with lock:
                    counts[key] += 1

        workers = [threading.Thread(target=work, args=(count // threads,)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return counts

    def wait(self, what, condition, seconds=120):
        """Waits until a condition holds; says what was waited for when it does not come."""
        deadline = time.monotonic() + seconds
        last = None
        while time.monotonic() < deadline:
            try:
                last = condition()
                if last:
                    return last
            except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
                last = error
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds} s for {what}; last seen: {last}\n{self.log_tail()}")


class Traffic:
    """Steady requests through the gateway from several threads, until stopped; every failure is kept."""

    def __init__(self, cluster, threads=4, pause=0.005):
        self.cluster, self.pause = cluster, pause
        self.sent, self.failures = 0, []
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def work(self):
        connection = None
        while not self.stopping.is_set():
            failure = None
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.cluster.gateway_port, timeout=60)
                connection.request("GET", "/", headers={"Host": "frontend.demo"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    failure = f"{answer.status} {dict(answer.getheaders())} {body[:200]!r}"
                if answer.getheader("connection", "").lower() == "close":
                    connection = None
            except OSError as error:
                failure, connection = repr(error), None
            with self.lock:
                self.sent += 1
                if failure:
                    self.failures.append(failure)
            time.sleep(self.pause)


def traces(name):
    """What of a cluster is on the machine: processes, mounts, cgroups, links, nft tables, files."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace")
            with open(f"/proc/{pid}/cgroup") as file:
                groups = file.read()
        except OSError:
            continue
        program = command.split(" ")[0].rsplit("/", 1)[-1]
        if f"weft/{name}" in groups or (f"weft/{name}" in command or f"--name {name} " in command) and program in (
                "meshd", "mesh-init", "meshproxy", "demo-service"):
            found.append(f"process {pid} {command}")
    with open("/proc/self/mounts") as file:
        found += [f"mount {line.split()[1]}" for line in file if f"weft/{name}" in line]
    for base, directories, _ in os.walk("/sys/fs/cgroup"):
        if base.endswith(f"/weft/{name}"):
            found.append(f"cgroup {base}")
            directories.clear()
    for path in (f"/run/weft/{name}", f"/var/lib/weft/{name}"):
        if os.path.exists(path):
            found.append(f"file {path}")
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    found += [f"link {line.split()[1]}" for line in links.splitlines() if "weft" in line]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    found += [line for line in tables.splitlines() if "weft" in line]
    return found
