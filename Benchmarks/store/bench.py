"""The store alone: values of 1 KB from 64 writers, each answered when it is on the disk, ours beside etcd's plain Put over gRPC."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

SECONDS = 4


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Etcd:
    def __init__(self, directory):
        self.port, peer = free_port(), free_port()
        client = f"http://127.0.0.1:{self.port}"
        peer = f"http://127.0.0.1:{peer}"
        self.process = subprocess.Popen(
            ["etcd", "--name", "m0", "--data-dir", directory, "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"m0={peer}",
             "--log-level", "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            if subprocess.run(["etcdctl", "--endpoints", client, "endpoint", "health"], env={**os.environ, "ETCDCTL_API": "3"},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError("etcd does not serve")

    def stop(self):
        self.process.kill()
        self.process.wait()


def load(program, *target):
    answer = subprocess.run([program, "measure", "--seconds", str(SECONDS), *target], capture_output=True, text=True, timeout=SECONDS + 60)
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    return json.loads(answer.stdout)


def measure(programs, rounds):
    program = os.path.join(programs, "store-load")
    # Both on one disk, and not on one that is memory.
    place = tempfile.mkdtemp(prefix="weft-store-bench-", dir="/var/tmp")
    ours, etcds = [], []
    try:
        for number in range(rounds):
            ours.append(load(program, "--directory", os.path.join(place, f"ours-{number}")))
            etcd = Etcd(os.path.join(place, f"etcd-{number}"))
            try:
                etcds.append(load(program, "--etcd", f"127.0.0.1:{etcd.port}"))
            finally:
                etcd.stop()
            for name in os.listdir(place):
                shutil.rmtree(os.path.join(place, name))
    finally:
        shutil.rmtree(place, ignore_errors=True)

    def median(runs, figure):
        return statistics.median(figure(run) for run in runs)

    rows = [("store, 1 KB from 64 writers, microseconds a write", lambda run: 1e6 / run["rate"], "us"),
            ("store, 1 KB from 64 writers, p99", lambda run: run["p99"] / 1000, "ms")]
    return [{"name": name, "ours": median(ours, figure), "unit": unit, "peer": "etcd", "peer_value": median(etcds, figure)}
            for name, figure, unit in rows]
