"""Smuggling: mutations of Transfer-Encoding and payloads that split implementations."""

import base64
import json
import os

from lane import misread


def load_mutations(folder):
    with open(os.path.join(folder, "smuggling/te-mutations.json")) as file:
        suite = json.load(file)
    cases = []
    for mutation in suite["mutations"]:
        forms = [mutation["mutation_b64"]] + ([mutation["utf8_b64"]] if "utf8_b64" in mutation else [])
        for name in mutation["ids"]:
            cases.append({"id": name, "name": name, "forms": forms, "suite": suite})
    return cases


def run_mutation(case, lane):
    suite = case["suite"]
    for form in case["forms"]:
        for probe in suite["probes"]:
            wrong = run_probe(suite, base64.b64decode(form), probe, lane)
            if wrong:
                return f"{probe['id']} {probe['role']}: {wrong}"
    return None


def run_probe(suite, mutation, probe, lane):
    lane.begin()

    def filled(text):
        text = text.replace("{method}", "POST").replace("{path}", "/").replace("{random}", "1")
        text = text.replace("{host}", "smuggling").replace("{content_length}", str(probe["content_length"]))
        return text.encode()

    head = filled(suite["header_before"]) + mutation + filled(suite["header_after"]) + filled(suite["end_of_header"])
    sent = head + probe["body"].encode()
    answer = lane.talk([sent], patience=0.5, until=lambda got: b"\r\n\r\n" in got.data)
    wrong = misread(lane, sent)
    if wrong:
        return wrong
    if answer.status is None and not answer.closed and lane.origin.requests:
        return "the origin has the request, and the client no answer"
    if answer.status is None and not answer.closed and not lane.origin.heads:
        return "no answer, though the head is whole"
    return None


def load_payloads(folder):
    with open(os.path.join(folder, "smuggling/payloads.json")) as file:
        return [dict(case, name=case["what"]) for case in json.load(file)]


def run_payload(case, lane):
    pieces = [base64.b64decode(piece) for piece in case.get("sends_b64", [case.get("bytes_b64", "")])]
    variants = [pieces]
    first = pieces[0]
    if b"HTTP/1.1\r\n" in first and b"\nhost" not in first.lower():
        # Refused for its missing Host alone, it would show nothing: so once more with one.
        variants.append([first.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nHost: a\r\n", 1)] + pieces[1:])
    for variant in variants:
        lane.begin()
        lane.talk(variant, patience=0.5)
        if case["id"].startswith("h2-downgrade"):
            wrong = "the origin got " + lane.origin.violations[0] if lane.origin.violations else None
        else:
            wrong = misread(lane, b"".join(variant))
        if wrong and not wrong.startswith("the origin got bytes that are no whole"):
            return wrong
        if not lane.alive():
            return "the proxy has died"
    return None
