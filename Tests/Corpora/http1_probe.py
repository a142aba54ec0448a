"""Http11Probe's cases, played as that suite plays them, and its own rules over what came back."""

import base64
import json
import os
import re
import time

MODERN = "response"


def load(folder):
    with open(os.path.join(folder, "http1-probe/cases.json")) as file:
        return [dict(case, name=case["id"]) for case in json.load(file)]


def run(case, lane):
    """None when the case passes; else what is wrong. The verdict is left in the case."""
    lane.begin()
    steps = play(case, lane)
    verdict = judge(case, steps)
    case["verdict"] = verdict
    first = steps[0]
    case["status"] = first["status"]
    if verdict in ("pass", "warn"):
        return None
    seen = ", ".join(f"{step['status']} {step['connection']}" for step in steps)
    return f"{verdict} by its rules ({case['rfc']}): got {seen}"


def play(case, lane):
    payloads = [{"payload": case["payload"]}] if case["kind"] == "single" else case["steps"]
    steps = []
    connection = lane.connect()
    host = f"127.0.0.1:{lane.port}".encode()
    try:
        for step in payloads:
            if steps and steps[-1]["connection"] != "open":
                steps.append({"status": None, "connection": steps[-1]["connection"], "data": b""})
                continue
            steps.append(exchange(connection, data_of(chosen(step, steps), host, steps)))
    finally:
        connection.close()
    return steps


def chosen(step, steps):
    if "payload" in step:
        return step["payload"]
    for variant in step["variants"]:
        if all(bool(fact_of_step(term["fact"], steps)) == term["is"] for term in variant.get("if", [])):
            return variant["payload"]
    raise AssertionError("no variant applies")


def fact_of_step(fact, steps):
    match = re.match(r"step1\.([A-Za-z-]+)(\[2\.\.\])? (present|starts with|ends with)(?: (.*))?\Z", fact)
    value = header(steps[0]["data"], match.group(1))
    if match.group(3) == "present":
        return value is not None
    value = (value or "")[2 if match.group(2) else 0 :]
    wanted = json.loads(match.group(4))
    return value.startswith(wanted) if match.group(3) == "starts with" else value.endswith(wanted)


def data_of(payload, host, steps):
    if "b64" in payload:
        data = base64.b64decode(payload["b64"])
    else:
        data = b""
        for part in payload["segments"]:
            if "b64" in part:
                data += base64.b64decode(part["b64"])
            else:
                data += base64.b64decode(part["repeat_b64"]) * part["count"]

    def length(match):
        number = int(match.group(2)) + int(match.group(3)) * len(host)
        return (b"%d" if match.group(1) == b"10" else b"%x") % number

    data = data.replace(b"{host}", host)
    data = re.sub(rb"\{len(10|16):(\d+)\+(\d+)\*host\}", length, data)

    def from_step(match):
        value = header(steps[0]["data"], match.group(1).decode()) or ""
        cut = match.group(2)
        if cut == b"[2..]":
            value = value[2:]
        elif cut == b"[1..^1]":
            value = value[1:-1]
        return value.encode()

    return re.sub(rb"\{step1\.([A-Za-z-]+)(\[[^\]]*\])?\}", from_step, data)


def exchange(connection, data):
    result = {"status": None, "connection": "open", "data": b""}
    try:
        connection.sendall(data)
    except OSError:
        pass
    deadline = time.time() + 5
    try:
        while b"\r\n\r\n" not in result["data"]:
            connection.settimeout(max(0.001, deadline - time.time()))
            new = connection.recv(65536)
            if not new:
                result["connection"] = "closed"
                break
            result["data"] += new
        if result["connection"] == "open":
            connection.settimeout(0.1)
            try:
                new = connection.recv(65536)
                result["data"] += new
                if not new:
                    result["connection"] = "closed"
            except TimeoutError:
                pass
        if result["connection"] == "open":
            connection.settimeout(0.05)
            try:
                if connection.recv(1, 2) == b"":  # MSG_PEEK
                    result["connection"] = "closed"
            except TimeoutError:
                pass
    except TimeoutError:
        result["connection"] = "timed_out"
    except OSError:
        result["connection"] = "closed"
    match = re.match(rb"HTTP/1\.[01] (\d{3})", result["data"])
    result["status"] = int(match.group(1)) if match else None
    result["response"] = bool(match)
    return result


def header(data, name):
    for line in data.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.lower().encode():
            return value.strip().decode("latin-1")
    return None


def body(data):
    return data.partition(b"\r\n\r\n")[2]


def decoded_body(data):
    if "chunked" not in (header(data, "Transfer-Encoding") or ""):
        return body(data)
    rest, out = body(data), b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        try:
            count = int(size.split(b";")[0], 16)
        except ValueError:
            return out
        if count == 0:
            return out
        out, rest = out + rest[:count], rest[count + 2 :]
    return out


def judge(case, steps):
    for rule in case["rules"]:
        wanted = rule["when"]
        if case["kind"] == "single":
            matches = applies(wanted, steps[0])
        else:
            matches = all(applies(part, steps[int(key[4:]) - 1]) for key, part in wanted.items())
        if matches and all(fact(term["fact"], steps) == term["is"] for term in rule.get("and", [])):
            return rule["verdict"]
    return "error"


def applies(when, step):
    if "response" in when and when["response"] != step.get("response", False):
        return False
    if "status" in when and not any(low <= (step["status"] or 0) <= high for low, high in when["status"]):
        return False
    if "connection" in when and step["connection"] not in when["connection"]:
        return False
    if "responses" in when:
        many = len(re.findall(rb"HTTP/1\.[01] \d{3}", step["data"])) >= 2
        if many != (when["responses"] == "2+"):
            return False
    return True


def fact(text, steps):
    data = steps[0]["data"]
    match = re.match(r"(?:(step[12])\.)?header\.([A-Za-z-]+) present\Z", text)
    if match:
        return header(steps[int((match.group(1) or "step1")[4:]) - 1]["data"], match.group(2)) is not None
    match = re.match(r'decoded_body equals (".*")\Z', text)
    if match:
        return decoded_body(data) == json.loads(match.group(1)).encode()
    match = re.match(r'body contains (".*")( \(case-insensitive\))?\Z', text)
    if match:
        wanted = json.loads(match.group(1)).encode()
        where = body(data)
        return wanted.lower() in where.lower() if match.group(2) else wanted in where
    if text == "body is empty":
        return body(data) == b""
    if text == "body contains any byte 0x01-0x03":
        return any(byte in body(data) for byte in (1, 2, 3))
    if text == "header Date is IMF-fixdate":
        return bool(re.match(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\Z", header(data, "Date") or ""))
    match = re.match(r'echo shows "(.*)" under (?:the standard name|the sent name|the sent casing) (".*") ', text)
    if match:
        name = json.loads(match.group(2)).encode()
        return name + b": " + match.group(1).encode() in body(data)
    match = re.match(r'echo shows "(.*)" under another casing of (".*") ', text)
    if match:
        name = json.loads(match.group(2)).encode()
        return (name + b": " + match.group(1).encode()).lower() in body(data).lower()
    raise AssertionError(f"a fact this driver does not know: {text}")


def compare(folder, cases):
    """Our passes beside those the suite's authors published, over the tests both know and score."""
    with open(os.path.join(folder, "http1-probe/published.json")) as file:
        published = json.load(file)
    ours = {case["id"]: case["verdict"] for case in cases if "verdict" in case}
    scored = {case["id"] for case in cases if case["scored"]}
    common = [place for place, name in enumerate(published["test_ids"]) if name in ours and name in scored]
    rows = []
    for server in published["servers"]:
        if server["name"] in ("Envoy", "HAProxy", "Nginx"):
            letters = [server["verdicts"][place] for place in common]
            rows.append((server["name"], letters.count("P"), letters.count("W"), letters.count("F") + letters.count("E")))
    mine = [ours[published["test_ids"][place]] for place in common]
    rows.insert(0, ("meshproxy", mine.count("pass"), mine.count("warn"), mine.count("fail") + mine.count("error")))
    return len(common), rows
