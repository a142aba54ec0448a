"""Processes and files of one run, and what /proc says of them."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERTZ = os.sysconf("SC_CLK_TCK")


GIVEN = set()


def free_port():
    """A port nobody has, below those the kernel gives to connections, and not given before."""
    while True:
        port = random.randrange(20000, 32000)
        if port in GIVEN:
            continue
        with socket.socket() as door:
            try:
                door.bind(("127.0.0.1", port))
            except OSError:
                continue
        GIVEN.add(port)
        return port


def log_of(process):
    """The last line it said."""
    with open(process.log) as file:
        lines = file.read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def wait_for(port, process):
    limit = time.time() + 10
    while time.time() < limit:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended: {log_of(process)}")
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


def settled(pids):
    """Resident megabytes once they no longer change: a proxy may still be giving back what its start needed."""
    before = rss(pids)
    for _ in range(40):
        time.sleep(0.25)
        now = rss(pids)
        if abs(now - before) < 0.1:
            return now
        before = now
    return before


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
        path = os.path.join(self.path, name + ".log")
        with open(path, "w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.path)
        process.log = path
        self.processes.append(process)
        return process

    def stop(self, process):
        """Ends one process before the others."""
        self.processes.remove(process)
        process.kill()
        process.wait()

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(6)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.path, ignore_errors=True)
