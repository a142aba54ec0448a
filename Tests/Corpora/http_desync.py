"""The cases of http-desync-guardian: what a head's tier asks of a proxy."""

import base64
import json
import os

from lane import misread


def load(folder):
    with open(os.path.join(folder, "http-desync/cases.json")) as file:
        return [dict(case, name=case["name"]) for case in json.load(file)]


def head_of(case):
    """The case's own tokens, joined: with a space after the colon, and the Host line that suite leaves out."""
    if case["token_has_crlf"] or not case["version"]:
        return base64.b64decode(case["raw_b64"])
    lines = [f"{case['method']} {case['uri']} {case['version']}"]
    lines += [f"{header['name']}:{header['value']}" for header in case["headers"]]
    names = [header["name"].strip().lower() for header in case["headers"]]
    if "host" not in names:
        lines.append("Host: desync")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def body_of(case):
    """What the suite leaves out: a body as the head promises it, so that an answer can come."""
    for header in case["headers"]:
        name, value = header["name"].strip().lower(), header["value"].strip()
        if name == "content-length" and value.isdigit() and len(value) < 6:
            return b"x" * int(value)
        if name == "transfer-encoding":
            return b"0\r\n\r\n"
    return b""


def run(case, lane):
    lane.begin()
    sent = head_of(case) + body_of(case)
    answer = lane.talk([sent], until=lambda got: b"\r\n\r\n" in got.data and got.status != 100 and case["expected_tier"] != "Ambiguous")
    refused = answer.status is not None and 400 <= answer.status <= 599 and not lane.origin.heads
    cut = answer.status is None and answer.closed and not lane.origin.heads
    closes = answer.closed or b"connection: close" in answer.data.lower()
    got = f"got {answer.status} {answer.reason or ''}{' and closed' if closes else ''}"
    wrong = misread(lane, sent)
    if wrong:
        return wrong
    tier = case["expected_tier"]
    if tier == "Severe":
        fits = (refused and closes and answer.status in (400, 414, 431, 501, 505)) or cut
        return None if fits else f"Severe ({case['expected_reason']}): {got}; wanted 400 and the end of the connection"
    if tier == "Ambiguous":
        both = answer.closed and lane.upstreams_gone()
        fits = (refused and closes) or cut or both
        return None if fits else f"Ambiguous ({case['expected_reason']}): {got}; wanted a refusal, or both ends closed"
    if tier == "Compliant":
        served = bool(lane.origin.heads) and not refused
        return None if served else f"Compliant: {got}; wanted it served"
    return None
