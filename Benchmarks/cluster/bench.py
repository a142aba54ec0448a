"""A cluster's own figures: from `meshctl up` to the first answer through the mesh, and the memory of an idle cluster by process."""

import os
import re
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Tests", "System"))
from cluster import Cluster  # noqa: E402

STARTS = 3
OURS = ("meshd", "mesh-init", "meshproxy", "demo-service")


def memory_by_program(name):
    """Proportional set size in MB (shared pages divided among their users), and the count, of each program of a cluster."""
    sizes = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cgroup") as file:
                groups = file.read()
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            with open(f"/proc/{pid}/smaps_rollup") as file:
                pss = next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
        except (OSError, StopIteration):
            continue
        program = words[0].rsplit("/", 1)[-1]
        if program in OURS and (f"weft/{name}" in groups or name in words or f"/{name}/" in " ".join(words)):
            sizes.setdefault(program, []).append(pss)
    return sizes


def measure(programs, rounds):
    first_answers, commands, rows = [], [], []
    for _ in range(STARTS):
        cluster = Cluster(programs)
        try:
            begin = time.monotonic()
            output = cluster.up("--demo").stdout
            commands.append(time.monotonic() - begin)
            first_answers.append(float(re.search(r"first answer through the mesh +([0-9.]+) s", output).group(1)))
            if len(first_answers) == STARTS:
                time.sleep(5)
                for program, sizes in sorted(memory_by_program(cluster.name).items()):
                    rows.append({"name": f"idle memory of {program}, each ({len(sizes)} running)", "ours": statistics.median(sizes), "unit": "MB PSS"})
                    rows.append({"name": f"idle memory of {program}, all", "ours": sum(sizes), "unit": "MB PSS"})
        finally:
            cluster.down()
    return [
        {"name": "meshctl up --demo, to the end of 1,000 requests", "ours": statistics.median(commands), "unit": "s"},
        {"name": "meshctl up --demo, to the first answer through the mesh", "ours": statistics.median(first_answers), "unit": "s"},
        *rows,
    ]
