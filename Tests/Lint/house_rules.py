#!/usr/bin/env python3
"""The house rules a formatter cannot check. Prints each breach as file:line: rule; exits 1 when there is one."""

import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
WITHOUT_FOUNDATION = ("Wire", "KubeTypes", "ProxyResources", "MeshModel", "Kernel", "CKernel", "Loop", "TLS", "YAMLText", "CEL", "Proxy", "meshproxy", "mesh-init",
                      "ClusterLayout")
BANNED_WORDS = re.compile(r"\b(?:struct|class|enum|actor|protocol)\s+\w*(?:Manager|Helper|Util|Utils|Impl)\b")
MOST_LINES = 600


def breaches(path, text):
    module = path.split("/")[1] if path.startswith("Sources/") else ""
    lines = text.splitlines()
    if len(lines) > MOST_LINES and path.endswith(".swift"):
        yield 1, f"{len(lines)} lines: a file over {MOST_LINES} has a second noun inside"
    for number, line in enumerate(lines, 1):
        if module in WITHOUT_FOUNDATION and re.match(r"\s*(?:\w+ )?import Foundation", line):
            yield number, f"{module} is linked into the data plane and must not import Foundation"
        if BANNED_WORDS.search(line):
            yield number, "name the thing by a word of its field"
        for escape in ("@unchecked Sendable", "nonisolated(unsafe)"):
            if escape in line and "//" not in line and not (number > 1 and lines[number - 2].strip().startswith("//")):
                yield number, f"{escape} needs a comment that says what makes it safe"
        if re.search(r"\b(?:TODO|FIXME|XXX)\b", line):
            yield number, "an open end belongs into an issue"
        if path.startswith("Tests/") and re.search(r"\.disabled\(|XCTSkip|withKnownIssue", line):
            yield number, "no skipped tests"


def main():
    files = subprocess.run(["git", "ls-files", "Sources", "Tests", "Benchmarks"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = 0
    for path in files:
        if path.endswith((".swift", ".c", ".h")):
            with open(os.path.join(ROOT, path)) as file:
                for number, rule in breaches(path, file.read()):
                    print(f"{path}:{number}: {rule}")
                    found += 1
    print(f"house rules: {found} breach(es) in {len(files)} files")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
