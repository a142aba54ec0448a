#!/usr/bin/env python3
"""The journeys of a user, on a real cluster with the real kubectl. Needs root; every failure is an error, nothing is skipped."""

import argparse
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import journeys  # noqa: E402
import kubectl_access  # noqa: E402
import kubectl_nodes  # noqa: E402
import kubectl_objects  # noqa: E402
import kubectl_streams  # noqa: E402
import kubectl_workloads  # noqa: E402
from cluster import Cluster, traces  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default=".build/debug", help="where meshctl, meshd, … are")
    parser.add_argument("--only", default="", help="run only tests whose name contains this")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the system tests make network namespaces and need root")
    for program in ("meshctl", "meshd", "mesh-init", "meshproxy", "demo-service"):
        if not os.access(os.path.join(options.programs, program), os.X_OK):
            sys.exit(f"{options.programs}/{program} is missing: build first ('make test' does)")

    cluster = Cluster(options.programs)
    journeys.CLUSTER = cluster
    modules = (journeys, kubectl_access, kubectl_nodes, kubectl_objects, kubectl_streams, kubectl_workloads)
    found = [test for module in modules for suite in unittest.defaultTestLoader.loadTestsFromModule(module) for test in suite]
    # By the names of the journeys, whatever file they are in: the last one ends the cluster.
    tests = [test for test in sorted(found, key=lambda test: test.id().split(".", 1)[1]) if options.only in test.id()]
    begin = time.monotonic()
    try:
        if options.only:
            cluster.up("--demo")
        result = unittest.TextTestRunner(verbosity=2, failfast=False).run(unittest.TestSuite(tests))
    finally:
        cluster.down()
    left = traces(cluster.name)
    failed = len(result.failures) + len(result.errors) + (1 if left else 0)
    if left:
        print("meshctl down left behind:\n  " + "\n  ".join(left))
    print(f"system tests took {time.monotonic() - begin:.0f} s")
    print(f"{result.testsRun + (0 if left else 1) - (failed - (1 if left else 0))} passed, {failed} failed")
    sys.exit(1 if failed or not result.testsRun else 0)


if __name__ == "__main__":
    main()
