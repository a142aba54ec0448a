"""HPACK stories through the proxy's own codec: `hpack-stories` decodes each block and encodes it anew."""

import gzip
import json
import os
import subprocess


def load(folder):
    with open(os.path.join(folder, "hpack/headers.json")) as file:
        headers = json.load(file)
    cases = []
    for name in sorted(os.listdir(os.path.join(folder, "hpack"))):
        if name == "headers.json":
            continue
        opener = gzip.open if name.endswith(".gz") else open
        with opener(os.path.join(folder, "hpack", name), "rt") as file:
            for story in json.load(file):
                identifier = f"{name.split('.json')[0]}/{story['story']}"
                cases.append({"id": identifier, "name": identifier, "story": story, "expected": headers[story["story"]]})
    return cases


def check_all(cases, programs, outside):
    """Wrongs by case id. `outside` is a foreign decoder for what we encode, or None."""
    lines = []
    for case in cases:
        lines.append("story")
        sizes = dict(case["story"]["header_table_size"])
        for place, wire in enumerate(case["story"]["wire"]):
            if place in sizes:
                lines.append(f"limit {sizes[place]}")
            lines.append(f"block {wire}")
    program = os.path.join(programs, "hpack-stories")
    done = subprocess.run([program], input="\n".join(lines) + "\n", capture_output=True, text=True)
    if done.returncode != 0:
        return {case["id"]: f"hpack-stories: exit {done.returncode} {done.stderr[:200]}" for case in cases}
    answers = iter(done.stdout.splitlines())
    wrongs = {}
    for case in cases:
        decoder = outside() if outside else None
        for place, expected in enumerate(case["expected"]):
            answer = json.loads(next(answers))
            if case["id"] in wrongs:
                continue
            wanted = [[name, value] for name, value in expected]
            if answer.get("fault"):
                wrongs[case["id"]] = f"block {place}: {answer['fault']}"
            elif [[text(n), text(v)] for n, v in answer["fields"]] != wanted:
                wrongs[case["id"]] = f"block {place} decodes to something else"
            elif not answer["again"]:
                wrongs[case["id"]] = f"block {place}, encoded by us, does not decode to itself"
            elif decoder:
                fields = [[as_text(n), as_text(v)] for n, v in decoder.decode(bytes.fromhex(answer["wire"]))]
                if fields != wanted:
                    wrongs[case["id"]] = f"block {place}, encoded by us, is something else to another decoder"
    return wrongs


def text(hexadecimal):
    return bytes.fromhex(hexadecimal).decode()


def as_text(value):
    return value if isinstance(value, str) else value.decode()
