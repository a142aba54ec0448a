"""Independent cases against a running proxy: `make corpora CORPORA=<folder>`.

Each suite's cases come from the folder; each must pass, or stand in exceptions.json with the RFC section that says why not. An
exception that is not needed any more fails too.
"""

import argparse
import json
import os
import queue
import sys
import threading
import time

import gateway_api
import hpack_stories
import http2_abuse
import http1_probe
import http_desync
import llhttp
import smuggling
from lane import Lane

SUITES = {
    "http1-probe": (http1_probe.load, http1_probe.run),
    "http-desync": (http_desync.load, http_desync.run),
    "llhttp": (llhttp.load, llhttp.run),
    "te-mutations": (smuggling.load_mutations, smuggling.run_mutation),
    "http2-abuse": (http2_abuse.load, http2_abuse.run),
    "payloads": (smuggling.load_payloads, smuggling.run_payload),
}


def outside_decoder():
    try:
        from hpack import Decoder

        return Decoder
    except ImportError:
        return None


def run_lanes(cases, run, programs, lanes):
    """Wrongs by place in `cases`; a case that fails is run once more by itself, since lanes share the machine."""
    work = queue.Queue()
    for place in range(len(cases)):
        work.put(place)
    wrongs, lock = {}, threading.Lock()

    def worker():
        lane = Lane(programs)
        try:
            while True:
                try:
                    place = work.get_nowait()
                except queue.Empty:
                    return
                wrong = attempt(cases[place], run, lane)
                if wrong:
                    with lock:
                        wrongs[place] = wrong
                if not lane.alive():
                    with lock:
                        wrongs[place] = f"the proxy died: {lane.process.returncode}"
                    lane.end()
                    lane = Lane(programs)
        finally:
            lane.end()

    threads = [threading.Thread(target=worker) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrongs:
        lane = Lane(programs)
        for place in sorted(wrongs):
            if "died" not in wrongs[place]:
                wrongs[place] = attempt(cases[place], run, lane)
        lane.end()
    return {place: wrong for place, wrong in wrongs.items() if wrong}


def attempt(case, run, lane):
    try:
        return run(case, lane)
    except OSError as fault:
        return f"the driver: {fault}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpora", required=True)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--only", help="one suite")
    parser.add_argument("--case", help="cases whose id holds this")
    parser.add_argument("--lanes", type=int, default=6)
    options = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "exceptions.json")) as file:
        exceptions = json.load(file)
    options.programs = os.path.abspath(options.programs)
    rows, failed, notes = [], False, []

    def settle(suite, cases, wrongs, seconds):
        nonlocal failed
        excepted = exceptions.get(suite, {})
        ids = {case["id"] for case in cases}
        known = {case["id"] for place, case in enumerate(cases) if place in wrongs and case["id"] in excepted}
        new = [(case, wrongs[place]) for place, case in enumerate(cases) if place in wrongs and case["id"] not in excepted]
        stale = [name for name in excepted if name in ids and name not in known]
        excused = sum(1 for place in wrongs if cases[place]["id"] in known)
        rows.append((suite, len(cases), len(cases) - len(wrongs), excused, len(new), seconds))
        for case, wrong in new:
            print(f"FAILED {suite} {case['id']} ({case['name'][:80]}): {wrong}")
        for name in stale:
            print(f"STALE {suite} {name}: passes now, but stands in exceptions.json")
        failed = failed or bool(new) or bool(stale)

    if options.only in (None, "hpack"):
        began = time.time()
        cases = [case for case in hpack_stories.load(options.corpora) if not options.case or options.case in case["id"]]
        found = hpack_stories.check_all(cases, options.programs, outside_decoder())
        settle("hpack", cases, {p: found[c["id"]] for p, c in enumerate(cases) if c["id"] in found}, time.time() - began)
    if options.only in (None, "gateway-api"):
        began = time.time()
        cases = [case for case in gateway_api.load(options.corpora) if not options.case or options.case in case["id"]]
        found = gateway_api.check_all(cases, options.corpora, options.programs)
        settle("gateway-api", cases, {p: found[c["id"]] for p, c in enumerate(cases) if c["id"] in found}, time.time() - began)
    for suite, (load, run) in SUITES.items():
        if options.only not in (None, suite):
            continue
        began = time.time()
        cases = [case for case in load(options.corpora) if not options.case or options.case in case["id"]]
        if not cases:
            continue
        wrongs = run_lanes(cases, run, options.programs, min(options.lanes, len(cases)))
        settle(suite, cases, wrongs, time.time() - began)
        if suite == "http1-probe":
            count, table = http1_probe.compare(options.corpora, cases)
            notes.append(f"http1-probe, {count} scored tests of its published table: pass, warn, fail")
            notes += [f"  {name:<10} {passed:>4} {warned:>4} {lost:>4}" for name, passed, warned, lost in table]
            best = max((row[1] for row in table[1:]), default=0)
            if table and not options.case and table[0][1] <= best:
                notes.append("  meshproxy passes no more of them than the others")
                failed = True
    print(f"{'suite':<14} {'cases':>6} {'passed':>7} {'excepted':>9} {'failed':>7} {'seconds':>8}")
    for suite, count, passed, excused, lost, seconds in rows:
        print(f"{suite:<14} {count:>6} {passed:>7} {excused:>9} {lost:>7} {seconds:>8.1f}")
    print("\n".join(notes))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
