#!/usr/bin/env python3
"""Kubernetes' conformance tests of its API, by their names, against a cluster of ours; writes docs/conformance.md.

The tests are our own; their names and what they ask are Kubernetes'. Fails when a test fails that is not in `not-yet.json`, and when one of those
passes: then it is to be taken out of the list.
"""

import argparse
import json
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "System")]

import cluster as system  # noqa: E402
import suite  # noqa: E402
from client import Client  # noqa: E402

for module in ("discovery", "watches", "namespaces", "customs", "controllers", "auth", "policies", "webhooks", "aggregation", "cli"):
    __import__(module)


def page(names, results):
    """docs/conformance.md: every conformance test, by group."""
    lines = ["# Conformance", "",
             "Kubernetes 1.36 has 446 conformance tests. Those of its API are our own tests here, under the same names (`make conformance`, `Tests/Conformance`);",
             "the others need what is built later, or are not written yet.", "", "| group | tests | pass | fail | not yet |", "|---|---|---|---|---|"]
    groups = {}
    for name in names:
        groups.setdefault(name.split("]")[0][1:], []).append(name)
    for group, members in sorted(groups.items()):
        passed = sum(results.get(n) is True for n in members)
        failed = sum(results.get(n) is False for n in members)
        lines.append(f"| {group} | {len(members)} | {passed} | {failed} | {len(members) - passed - failed} |")
    words = {True: "pass", False: "**fail**", None: "not yet"}
    for group, members in sorted(groups.items()):
        if not any(n in results for n in members):
            continue
        lines += ["", f"## {group}", "", "| test | |", "|---|---|"]
        lines += [f"| {n[len(group) + 3:]} | {words[results.get(n)]} |" for n in sorted(members)]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default=".build/debug")
    parser.add_argument("--only", default="", help="only tests whose name contains this")
    parser.add_argument("--write", action="store_true", help="write docs/conformance.md and not-yet.json")
    parser.add_argument("--slow", action="store_true", help="also tests that wait for minutes")
    parser.add_argument("--compaction-interval", help="after which the cluster gives up history, such as 30s; kube-apiserver's default is 5m")
    parser.add_argument("--kubeconfig", help="an API server that runs already, instead of a cluster of its own")
    options = parser.parse_args()
    # The page says of every test how it went.
    options.slow = options.slow or options.write
    with open(os.path.join(HERE, "names.json")) as file:
        names = json.load(file)
    with open(os.path.join(HERE, "not-yet.json")) as file:
        expected = set(json.load(file))
    unknown = set(suite.TESTS) - set(names)
    if unknown:
        sys.exit("no conformance test has the name\n  " + "\n  ".join(sorted(unknown)))
    chosen = {name: test for name, test in suite.TESTS.items() if options.only in name and (options.slow or "[Slow]" not in name)}
    running = system.Cluster(options.programs)
    if options.kubeconfig:
        running.kubeconfig = options.kubeconfig
        running.state_directory = os.path.dirname(options.kubeconfig)
    results, begin = {}, time.monotonic()
    try:
        if not options.kubeconfig:
            # The demo brings the image that the pods of these tests run.
            interval = options.compaction_interval
            running.up("--demo", *(["--kube-apiserver-arg", f"etcd-compaction-interval={interval}"] if interval else []))
        given = suite.Cluster(running, Client(running.kubeconfig))
        for name, test in chosen.items():
            start = time.monotonic()
            try:
                test(given)
                results[name] = True
            except Exception as error:  # whatever it is, the test has failed
                results[name] = False
                if name not in expected:
                    print("".join(traceback.format_exception(error)[-3:])[:3000])
            print(f"{'ok  ' if results[name] else 'FAIL'} {time.monotonic() - start:6.1f} s  {name}", flush=True)
    finally:
        if not options.kubeconfig:
            running.down()
    failed = {name for name, good in results.items() if not good}
    print(f"{len(results) - len(failed)} of {len(results)} passed in {time.monotonic() - begin:.0f} s")
    if options.write and not options.only:
        with open(os.path.join(suite.ROOT, "docs/conformance.md"), "w") as file:
            file.write(page(names, results))
        with open(os.path.join(HERE, "not-yet.json"), "w") as file:
            json.dump(sorted(failed), file, indent=1)
            file.write("\n")
        return
    news, better = failed - expected, {name for name in expected & set(results) if results[name]}
    for title, those in (("failed", news), ("passed, and stand in not-yet.json", better)):
        if those:
            print(f"{title}:\n  " + "\n  ".join(sorted(those)))
    sys.exit(1 if news or better or not results else 0)


if __name__ == "__main__":
    main()
