"""llhttp's cases: what its strict mode refuses, the proxy refuses; what it takes, the proxy serves."""

import base64
import json
import os
import re

import strict_reader
from lane import misread


def load(folder):
    with open(os.path.join(folder, "llhttp/cases.json")) as file:
        return [dict(case, name=case["title"]) for case in json.load(file)]


def run(case, lane):
    if case["type"].startswith("response"):
        return run_response(case, lane)
    return run_request(case, lane)


def with_host(data):
    """llhttp does not ask for a Host; the proxy must (RFC 9112 §3.2), so the heads without get one, that of their target."""
    out = b""
    absolute = re.match(rb"[A-Z-]+ [A-Za-z]+://([^/?# ]+)", data)
    host = absolute.group(1) if absolute else b"llhttp"
    while True:
        match = re.search(rb"HTTP/1\.1\r\n", data)
        if not match:
            return out + data
        out += data[: match.end()]
        data = data[match.end() :]
        head = data.split(b"\r\n\r\n", 1)[0]
        if not re.search(rb"(?im)^host\s*:", head):
            out += b"Host: " + host + b"\r\n"


def run_request(case, lane):
    lane.begin()
    data = base64.b64decode(case["input_b64"])
    if case["type"] == "url":
        data = with_host(b"GET " + data + b" HTTP/1.1\r\n\r\n")
    else:
        data = with_host(data)
    found, fault = strict_reader.requests_in(data)
    wanted = len(found)
    error = case["error"] and not case["error"]["reason"].startswith("Pause on")
    if "Connection: close" in ((case["error"] or {}).get("reason") or ""):
        wanted, error = 1, False

    def enough(answer):
        responses = answer.responses()
        return responses is not None and len(responses) > wanted

    answer = lane.talk([data], patience=0.4, until=enough)
    wrong = misread(lane, data)
    if wrong and not (wrong.startswith("the origin got bytes that are no whole") and not lane.origin.requests[wanted:]):
        return wrong
    refused = any(b" %d " % code in answer.data for code in (400, 414, 417, 426, 431, 501, 505)) or (answer.closed and not answer.data)
    if case["mode"] == "lenient":
        # What leniency lets through may be refused; what passes must be unambiguous, as was checked above.
        return None
    if error:
        finished = len(lane.origin.requests)
        if refused or finished < max(wanted, 1):
            return None
        return f"llhttp refuses it ({case['error']['reason']}); got {answer.status} {answer.reason or ''}"
    if fault:
        return None if refused else f"a strict reader refuses it ({fault}); got {answer.status}"
    if len(lane.origin.requests) >= min(1, wanted) and not (wanted and refused and not lane.origin.requests):
        return None
    return f"llhttp takes it; got {answer.status} {answer.reason or ''}, {len(lane.origin.requests)} of {wanted} served"


def run_response(case, lane):
    data = base64.b64decode(case["input_b64"])
    lane.begin(script=([data], False))
    pieces = [data]
    reader = strict_reader.Reader(lambda: pieces.pop() if pieces else b"")
    expected, fault = None, None
    try:
        while expected is None or expected.status < 200:
            expected = strict_reader.response(reader)
            if expected.status == 101:
                break
    except strict_reader.Violation as violation:
        fault = str(violation)
    except strict_reader.Incomplete:
        fault = "the end comes inside the message"
    answer = lane.talk([b"GET / HTTP/1.1\r\nHost: llhttp\r\n\r\n"], patience=0.4)
    responses = answer.responses()
    whole = responses is not None and len(responses) == 1 and len(answer.data) > 0
    if whole and answer.reason and responses[0].status in (502, 503, 504):
        whole = False
    if responses is not None and len(responses) > 1:
        return "the client got more than one response"
    if fault:
        if whole and responses[0].status < 500:
            return f"a strict reader refuses it ({fault}); the client got {responses[0].status}"
        return None
    if expected.status == 101:
        return None if answer.status in (502, None) else f"101 was not asked for; the client got {answer.status}"
    if case["mode"] == "strict" and case["error"] and (case["error"]["reason"] or "").startswith("Data after"):
        return None if whole and responses[0].body == expected.body else f"got {answer.status} {answer.reason}"
    if not whole:
        return f"a strict reader takes it; the client got {answer.status} {answer.reason or ''}"
    if (responses[0].status, responses[0].body) != (expected.status, expected.body):
        return f"the client got {responses[0].status} {responses[0].body!r:.60} for {expected.status} {expected.body!r:.60}"
    return None
