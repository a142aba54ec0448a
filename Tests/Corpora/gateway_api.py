"""The Gateway API's own conformance cases, against the control plane's model and live proxies."""

import concurrent.futures
import copy
import json
import math
import os
import re
import socket
import ssl
import time
import uuid

import h2.config
import h2.connection
import h2.events

from gateway_world import CONTROLLER, GATEWAY_GROUP, World

CERTIFICATE_FAULTS = (ssl.SSLError, OSError)
SUPPORTED = {"TLSRoute", "TLSRouteModeTerminate", "TLSRouteModeMixed", "TCPRoute"}


def load(corpora):
    path = os.path.join(corpora, "gateway-api", "cases.json")
    if not os.path.exists(path):
        return []
    with open(path) as file:
        known = json.load(file)
    return [
        {"id": case["shortName"], "name": ", ".join(case["features"]), "case": case, "setup": known["setup"]}
        for case in known["cases"]
    ]


def check_all(cases, corpora, programs):
    """Wrongs by case id. Cases run one after the other, each over the base objects."""
    wrongs = {}
    world = World(corpora, programs)
    try:
        setup = cases[0]["setup"] if cases else None
        if setup:
            world.add_file(setup["gateway"]["manifests"])
            world.add_file(setup["mesh"]["manifests"])
            world.make_certificates(setup["gateway"]["generatedAtRunTime"])
        base = copy.deepcopy(world.objects)
        for case in cases:
            wrong = run(case["case"], world)
            if wrong:
                wrongs[case["id"]] = wrong
            world.stop_proxies()
            world.objects, world.answer = copy.deepcopy(base), None
    finally:
        world.end()
    return wrongs


def run(case, world):
    for path in case["manifests"]:
        world.add_file(path)
    world.backends.paths.clear()
    first = {}
    for place, step in in_order(case["steps"]):
        if not all(holds(word) for word in step.get("when", [])):
            continue
        do = STEPS.get(step["kind"])
        if do is None:
            return f"step {place} {step['kind']}: is not done here"
        try:
            wrong = do(step, world, first)
        except (KeyError, StopIteration, ValueError, OSError, TypeError, AttributeError, IndexError) as fault:
            wrong = f"{type(fault).__name__}: {fault}"
        if wrong:
            about = step.get("request", {}).get("path") or step.get("object", {}).get("name") or ""
            return f"step {place} {step['kind']} {about}: {wrong}"
    return None


def in_order(steps):
    """What mirrors saw is looked at after the request, which the data lists the other way round."""
    late = []
    for place, step in enumerate(steps):
        if step["kind"] == "mirror-log":
            late.append((place, step))
            continue
        yield place, step
        yield from late
        late = []
    yield from late


def holds(word):
    feature = word.split(" ")[-1]
    return (feature in SUPPORTED) != word.startswith("not ")


# Statuses.


def conditions_differ(found, wanted):
    by_type = {one["type"]: one for one in found}
    for want in wanted:
        have = by_type.get(want["type"])
        if have is None:
            return f"no condition {want['type']}"
        for field in ("status", "reason"):
            if field in want and have[field] != want[field]:
                return f"{want['type']}.{field} is {have[field]} ({have.get('message')}), not {want[field]}"
    return None


def find(world, spoken):
    namespace, name = spoken.get("namespace", ""), spoken.get("name")
    if not namespace and "/" in name:
        namespace, name = name.split("/")
    return world.objects[(spoken["kind"], namespace, name)]


def parents_of(item):
    status = item.get("status", {})
    return status.get("parents", []) + status.get("ancestors", [])


def names_parent(entry, parent, namespace):
    reference = entry.get("parentRef") or entry.get("ancestorRef")
    return f"{reference.get('namespace', namespace)}/{reference['name']}" == parent


def all_conditions(item):
    status = item.get("status", {})
    found = list(status.get("conditions", []))
    for entry in parents_of(item) + status.get("listeners", []):
        found += entry.get("conditions", [])
    return found


def check_status(step, world, _):
    world.settle()
    item = find(world, step["object"])
    status = item.get("status", {})
    if step.get("everyConditionObservedGenerationCurrent"):
        found = all_conditions(item)
        if not found:
            return "no conditions"
        late = [one["type"] for one in found if one.get("observedGeneration") != item["metadata"]["generation"]]
        if late:
            return f"conditions of an older generation: {late}"
    if step.get("hasAddress") and not status.get("addresses"):
        return "no address"
    if "parent" in step:
        entries = [e for e in parents_of(item) if names_parent(e, step["parent"], item["metadata"].get("namespace"))]
        if step.get("noAcceptedParent"):
            accepted = [e for e in entries for c in e["conditions"] if c["type"] == "Accepted" and c["status"] == "True"]
            return "accepted" if accepted else None
        if not entries:
            return f"no entry for {step['parent']}"
        if all(conditions_differ(entry["conditions"], step.get("conditions", [])) for entry in entries):
            return conditions_differ(entries[0]["conditions"], step.get("conditions", []))
    elif step.get("noAcceptedParent"):
        for entry in parents_of(item):
            if not conditions_differ(entry["conditions"], [{"type": "Accepted", "status": "True"}]):
                return "accepted"
    elif "conditions" in step:
        wrong = conditions_differ(status.get("conditions", []), step["conditions"])
        if wrong:
            return wrong
    listeners = {one["name"]: one for one in status.get("listeners", [])}
    for name in step.get("listenerNames", []):
        wrong = conditions_differ(listeners.get(name, {}).get("conditions", []), step["listenerConditions"])
        if wrong:
            return f"listener {name}: {wrong}"
    wanted = step.get("listeners", [])
    if step.get("listenerCountExact") and len(wanted) != len(listeners):
        return f"{len(listeners)} listeners, not {len(wanted)}"
    for want in wanted:
        wrong = listener_differs(listeners.get(want["name"]), want)
        if wrong:
            return f"listener {want['name']}: {wrong}"
    if "everyListenerAttachedRoutes" in step:
        for name, one in listeners.items():
            if one["attachedRoutes"] != step["everyListenerAttachedRoutes"]:
                return f"listener {name} has {one['attachedRoutes']} routes"
    if "attachedListenerSets" in step and status.get("attachedListenerSets", 0) != step["attachedListenerSets"]:
        return "listener sets attached differ"
    return check_parents(step, item)


def check_parents(step, item):
    if "parents" not in step:
        return None
    entries = parents_of(item)
    if step.get("parentsExact") and len(entries) != len(step["parents"]):
        return f"{len(entries)} parents, not {len(step['parents'])}"
    for want in step["parents"]:
        reference = want["parentRef"]
        name = f"{reference.get('namespace', item['metadata'].get('namespace'))}/{reference['name']}"
        fitting = [
            e for e in entries
            if names_parent(e, name, item["metadata"].get("namespace")) and e["controllerName"] == CONTROLLER
            and all(e["parentRef"].get(f) == reference[f] for f in ("sectionName", "port") if f in reference)
        ]
        if not fitting:
            return f"no entry for {name}"
        wrong = conditions_differ(fitting[0]["conditions"], want.get("conditions", []))
        if wrong:
            return wrong
    return None


def listener_differs(found, want):
    if found is None:
        return "has no status"
    if "attachedRoutes" in want and found["attachedRoutes"] != want["attachedRoutes"]:
        return f"{found['attachedRoutes']} routes, not {want['attachedRoutes']}"
    if "supportedKinds" in want:
        kinds = {(one["group"], one["kind"]) for one in found.get("supportedKinds", [])}
        wanted = {(one.get("group", GATEWAY_GROUP), one["kind"]) for one in want["supportedKinds"]}
        if (kinds and not wanted) or not wanted <= kinds:
            return f"kinds {sorted(kinds)}"
    return conditions_differ(found["conditions"], want.get("conditions", []))


def check_accepted(step, world, _):
    world.settle()
    expect = step["expect"]
    if "parent" in step and step["parent"]["kind"] != "Gateway":
        return f"a {step['parent']['kind']} is a parent"
    gateway = find(world, {"kind": "Gateway", "name": step["gateway"]})
    if expect.get("gatewayHasAddress") and not gateway.get("status", {}).get("addresses"):
        return "the gateway has no address"
    for name in step.get("routes", []):
        item = find(world, {"kind": step["routeKind"], "name": name})
        namespace = item["metadata"]["namespace"]
        entries = [e for e in parents_of(item) if names_parent(e, step["gateway"], namespace)]
        if "listeners" in step:
            ports = {one["port"] for one in gateway["spec"]["listeners"] if one["name"] in step["listeners"]}
            entries = [
                e for e in entries
                if e["parentRef"].get("sectionName") in step["listeners"]
                or "sectionName" not in e["parentRef"] and e["parentRef"].get("port", next(iter(ports))) in ports]
        if not entries:
            return f"{name} has no entry for the gateway"
        for entry in entries:
            wrong = conditions_differ(entry["conditions"], expect["routeParentConditions"])
            if wrong:
                return f"{name}: {wrong}"
    for one in gateway.get("status", {}).get("listeners", []):
        wrong = conditions_differ(one["conditions"], expect.get("listenerConditions", []))
        if wrong:
            return f"listener {one['name']}: {wrong}"
    return None


def check_ready(step, world, _):
    world.settle()
    for (kind, namespace, name), item in world.objects.items():
        if kind == "Gateway" and namespace in step["namespaces"]:
            wanted = [{"type": word, "status": "True"} for word in step["expect"]["gateways"]]
            wrong = conditions_differ(item.get("status", {}).get("conditions", []), wanted)
            if wrong:
                return f"Gateway {name}: {wrong}"
    return None


# Changes.


def put(item, field, op, value, place=None):
    words = [w for w in re.split(r"[.\[\]]", field.replace("data[ca.crt]", "data[ca%crt]")) if w]
    words = [word.replace("%", ".") for word in words]
    for word in words[:-1]:
        item = item[int(word)] if isinstance(item, list) else item.setdefault(word, {})
    last = words[-1]
    if op == "append":
        item[last] = item.get(last, []) + value
    elif op == "keepOnly":
        item[last] = [one for one in item[last] if one["name"] in value]
    elif op == "remove":
        del item[last][place]
    else:
        item[last] = value


def change(step, world, first):
    item = find(world, step["object"])
    key, value = world.key(item), step.get("value")
    if value == "<value before the first patch>":
        value = first[key]
    elif isinstance(value, str) and value.startswith("<"):
        value = first.get(("text", value)) or world.text_of(value)
    if step["field"] == "spec.validation.caCertificateRefs":
        first.setdefault(key, copy.deepcopy(item["spec"]["validation"]["caCertificateRefs"]))
    world.change(key, lambda found: put(found, step["field"], step["op"], copy.deepcopy(value), step.get("originalIndex")))


def flat(value):
    """Go's embedded structs, as they stand in JSON."""
    if isinstance(value, list):
        return [flat(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, one in value.items():
        if name in ("commonRouteSpec", "backendObjectReference"):
            made.update(flat(one))
        else:
            made["metadata" if name == "objectMeta" else name] = flat(one)
    return made


def apply(step, world, _):
    for item in step["objects"]:
        made = flat(item)
        made.setdefault("apiVersion", f"{GATEWAY_GROUP}/v1" if "Route" in made["kind"] else "v1")
        for name, value in made.get("data", {}).items():
            if value.startswith("<"):
                made["data"][name] = world.text_of(value)
        world.add(made)


def delete(step, world, _):
    metadata = step["object"]["objectMeta"]
    world.remove((step["object"]["kind"], metadata.get("namespace", ""), metadata["name"]))


# Exchanges.


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers = status, {}
        for name, value in headers:
            self.headers.setdefault(name.lower(), []).append(value)
        is_grpc = self.headers.get("content-type", [""])[0].startswith("application/grpc")
        try:
            self.echo = json.loads(body[5:] if is_grpc else body)
        except ValueError:
            self.echo = None


def secured(raw, tls, world, protocols):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= 0x80000  # a leaf may be what is trusted
    if "trust" in tls:
        context.load_verify_locations(cadata=world.text_of(tls["trust"]))
    else:
        context.verify_mode = ssl.CERT_NONE
    if "clientCertificate" in tls:
        context.load_cert_chain(world.file_of(tls["clientCertificate"]), world.file_of(tls["clientKey"]))
    if protocols:
        context.set_alpn_protocols(protocols)
    return context.wrap_socket(raw, server_hostname=tls.get("sni"))


def connect(step, world, protocols=None):
    address, port = target(step, world)
    link = socket.create_connection((address, port), 10)
    tls = step.get("tls", {})
    if step["kind"] == "https" or tls.get("enabled"):
        link = secured(link, tls, world, protocols)
    return link


def target(step, world):
    if "client" in step:
        return world.client_proxy(step["client"], destination(step, world))
    via = step["via"]
    address = world.gateway_proxy(via["gateway"])
    listeners = find(world, {"kind": "Gateway", "name": via["gateway"]})["spec"]["listeners"]
    if "port" in via:
        return address, world.opened(int(via["port"]))
    if "listeners" in via:
        named = [one for one in listeners if one["name"] in via["listeners"]]
    else:
        named = [one for one in listeners if (one["protocol"] == "HTTPS") == (step["kind"] == "https")] or listeners
    return address, world.opened(named[0]["port"])


def destination(step, world):
    host = step["request"].get("host", "echo")
    found = re.match(r"<<pod-ip:([^>]*)>\+?:(\d+)>", host) or re.match(r"<pod-ip:([^>]*)>:(\d+)", host)
    if found:
        labels = dict(pair.split("=") for pair in found[1].split(","))
        pod = next(p for p in world.pods() if p[0] == "gateway-conformance-mesh" and labels.items() <= p[2].items())
        return f"{pod[3]}:{found[2]}"
    name, _, port = host.partition(":")
    parts = name.split(".")
    namespace = parts[1] if len(parts) > 1 else "gateway-conformance-mesh"
    service = world.objects[("Service", namespace, parts[0])]
    return f"{service['spec']['clusterIP']}:{port or 80}"


def http1(link, method, path, host, headers):
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    link.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    data = b""
    while more := link.recv(65536):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    found = [(line.split(":", 1)[0], line.split(":", 1)[1].strip()) for line in rest]
    if any(name.lower() == "transfer-encoding" for name, _ in found):
        whole, left = b"", body
        while left:
            size, _, left = left.partition(b"\r\n")
            count = int(size, 16)
            if count == 0:
                break
            whole, left = whole + left[:count], left[count + 2:]
        body = whole
    return Answer(int(first.split(" ")[1]), found, body)


def http2(link, method, path, host, headers, body=None):
    made = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    made.initiate_connection()
    scheme = "https" if isinstance(link, ssl.SSLSocket) else "http"
    fields = [(":method", method), (":scheme", scheme), (":path", path), (":authority", host)]
    made.send_headers(1, fields + [(n.lower(), v) for n, v in headers], end_stream=body is None)
    if body is not None:
        made.send_data(1, body, end_stream=True)
    link.sendall(made.data_to_send())
    status, found, data = None, [], b""
    while True:
        more = link.recv(65536)
        if not more:
            raise OSError("the session ended")
        for event in made.receive_data(more):
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                for name, value in event.headers:
                    if bytes(name) == b":status":
                        status = int(value)
                    else:
                        found.append((bytes(name).decode(), bytes(value).decode()))
            elif isinstance(event, h2.events.DataReceived):
                data += event.data
                made.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise OSError(f"{event}")
            elif isinstance(event, h2.events.StreamEnded):
                return Answer(status, found, data)
        link.sendall(made.data_to_send())


def ask(step, world):
    request = step["request"]
    path = request.get("path", "/").replace("<uuid>", str(uuid.uuid4()))
    host = request.get("host", "echo" if "client" in step else None)
    protocol = request.get("protocol")
    with connect(step, world, ["h2"] if protocol == "H2" else ["http/1.1"]) as link:
        if host is None or host.startswith("<"):
            host = "%s:%s" % link.getpeername()[:2]
        headers = [(n, v) for n, v in request.get("headers", {}).items() if n.lower() != "host"]
        host = next((v for n, v in request.get("headers", {}).items() if n.lower() == "host"), host)
        wanted = request.get("echoServerSetsResponseHeaders", {})
        if wanted:
            headers.append(("X-Echo-Set-Header", ", ".join(f"{name}:{value}" for name, value in wanted.items())))
        method = request.get("method", "GET")
        if protocol in ("H2", "H2C_PRIOR_KNOWLEDGE"):
            return http2(link, method, path, host, headers)
        return http1(link, method, path, host, headers)


def joined(headers, name):
    values = headers.get(name.lower())
    return None if values is None else ",".join(values)


def plain(text):
    return None if text is None else text.replace(" ", "")


def differs(step, answer):
    expect, request = step["expect"], step["request"]
    status = expect.get("status", [200])
    alike = set(status) | ({408, 504} if set(status) & {408, 504} else set())
    if "statusNot" in expect:
        if answer.status in expect["statusNot"]:
            return f"status {answer.status}"
    elif answer.status not in alike:
        reasons = [joined(answer.headers, name) for name in ("x-weft-reason", "x-weft-retry-refused")]
        return f"status {answer.status}, not {status} ({reasons})"
    response = expect.get("response", {})
    for name, value in response.get("headers", {}).items():
        if plain(joined(answer.headers, name)) != plain(value):
            return f"response header {name} is {joined(answer.headers, name)}, not {value}"
    for name, values in response.get("validHeaderValues", {}).items():
        if plain(joined(answer.headers, name)) not in [plain(value) for value in values]:
            return f"response header {name} is {joined(answer.headers, name)}, not one of {values}"
    for name in response.get("absentHeaders", []):
        if name.lower() in answer.headers:
            return f"response header {name} is there: {joined(answer.headers, name)}"
    if "redirect" in expect:
        return redirect_differs(step, answer)
    if answer.status in (200, 204) and "namespace" in expect or "backend" in expect and answer.status in (200, 204):
        return echo_differs(step, answer.echo)
    return None


def redirect_differs(step, answer):
    wanted = step["expect"]["redirect"]
    location = joined(answer.headers, "location") or ""
    found = re.match(r"(?:(\w+)://([^/:]*)(?::(\d+))?)?([^?]*)", location)
    scheme, host, port, path = found.groups()
    own = "https" if step["kind"] == "https" else "http"
    if (scheme or own) != wanted.get("scheme", own):
        return f"redirect to {location}: scheme is not {wanted.get('scheme', own)}"
    if "host" in wanted and host != wanted["host"]:
        return f"redirect to {location}: host is not {wanted['host']}"
    if "client" not in step or "path" in wanted:
        if path != wanted.get("path", step["request"]["path"].split("?")[0]):
            return f"redirect to {location}: path is not {wanted.get('path')}"
    usual = {"http": "80", "https": "443"}[scheme or own]
    # Proxies here listen on a port of their own, which a redirect without another may keep.
    if "port" in wanted and port not in (wanted["port"], None if wanted["port"] == usual else wanted["port"]):
        return f"redirect to {location}: port is not {wanted['port']}"
    if "port" not in wanted and port not in (None, "80", "443"):
        return f"redirect to {location}: has a port"
    return None


def echo_differs(step, echo):
    expect, request = step["expect"], step["request"]
    if echo is None:
        return "no answer of a backend"
    if "backend" in expect and not echo["pod"].startswith(expect["backend"]):
        return f"answered by {echo['pod']}, not {expect['backend']}"
    if "client" not in step and "namespace" in expect and echo["namespace"] != expect["namespace"]:
        return f"answered from {echo['namespace']}"
    seen = expect.get("backendRequest")
    wanted = dict(seen or {})
    if seen is None and "client" not in step:
        wanted = {"headers": request.get("headers", {}), "host": request.get("host"), "protocol": None}
    wanted.setdefault("path", request.get("path", "/"))
    wanted.setdefault("method", request.get("method", "GET"))
    if "client" not in step and "<uuid>" not in wanted["path"] and echo["path"] != wanted["path"]:
        return f"the backend saw the path {echo['path']}, not {wanted['path']}"
    if "client" not in step and echo["method"] != wanted["method"]:
        return f"the backend saw {echo['method']}"
    if wanted.get("host") and "client" not in step and echo["host"] != wanted["host"]:
        return f"the backend saw the host {echo['host']}, not {wanted['host']}"
    if wanted.get("protocol") and not echo["proto"].startswith(wanted["protocol"]) and "H2C" not in wanted["protocol"]:
        return f"the backend saw {echo['proto']}, not {wanted['protocol']}"
    for name, value in wanted.get("headers", {}).items():
        if plain(joined(echo["headers"], name)) != plain(value):
            return f"the backend saw {name}: {joined(echo['headers'], name)}, not {value}"
    for name in wanted.get("absentHeaders", []):
        if name.lower() in echo["headers"]:
            return f"the backend saw {name}"
    if "sni" in wanted and (echo["tls"] or {}).get("sni") != wanted["sni"]:
        return f"the backend saw the server name {echo['tls']}"
    return None


def until(attempt, tries=4, wanted=1):
    """The last wrong when an attempt does not hold `wanted` times in a row."""
    row, wrong = 0, None
    for _ in range(tries + wanted - 1):
        try:
            wrong = attempt()
        except (OSError, ValueError, IndexError) as fault:
            wrong = f"{type(fault).__name__}: {fault}"
        row = 0 if wrong else row + 1
        if row == wanted:
            return None
        if wrong:
            time.sleep(0.05)
    return wrong


def exchange(step, world, _):
    if step["expect"].get("transportError"):
        try:
            answer = ask(step, world)
        except (OSError, ValueError, IndexError):
            return None
        return f"answered {answer.status}"
    def attempt():
        if "<uuid>" in step["request"].get("path", ""):
            time.sleep(1.1)  # tries again are few in a second
        return differs(step, ask(step, world))

    # Whether the last try or the time ends first is up to chance where both are close.
    is_retried = "<uuid>" in step["request"].get("path", "")
    return until(attempt, tries=12 if is_retried else 4, wanted=1 if is_retried else 3)


def repeat(step, world, _):
    counts = step["expect"]["backendRequestHeaderCount"]
    for _ in range(step["requests"]):
        answer = ask(step, world)
        if answer.status != 200:
            return f"status {answer.status}"
        for name, count in counts.items():
            if len(answer.echo["headers"].get(name.lower(), [])) != count:
                return f"header {name} {answer.echo['headers'].get(name.lower())}"
        name = step["expect"].get("podNameStartsWithBackendRequestHeader")
        if name and not answer.echo["pod"].startswith(answer.echo["headers"][name.lower()][0]):
            return f"{answer.echo['pod']} got the header of {answer.echo['headers'][name.lower()]}"
    return None


CODES = {"OK": "0", "Unimplemented": "12", "Unavailable": "14"}


def call(step, world):
    request = step["request"]
    if "client" in step:
        step = dict(step, request=dict(request, host=request.get("host", "echo:7070")))
        request = step["request"]
    service = request.get("service", "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho")
    headers = [("content-type", "application/grpc"), ("te", "trailers")]
    headers += list(request.get("metadata", {}).items()) + list(request.get("headers", {}).items())
    with connect(step, world) as link:
        host = request.get("authority") or request.get("host") or "%s:%s" % link.getpeername()[:2]
        answer = http2(link, "POST", f"/{service}/{request.get('method', 'Echo')}", host, headers, b"\0\0\0\0\0")
    return answer


def grpc_differs(step, answer):
    expect = step["expect"]
    code = joined(answer.headers, "grpc-status") or {404: "12", 503: "14"}.get(answer.status, "2")
    if code != CODES[expect.get("code", "OK")]:
        return f"status {answer.status}, grpc-status {code}, not {expect.get('code', 'OK')}"
    if code != "0":
        return None
    return echo_of_call(step, answer)


def echo_of_call(step, answer):
    expect = step["expect"]
    for name, values in expect.get("headers", {}).items():
        seen = answer.echo["headers"].get(name.lower())
        if plain(",".join(seen or [])) != plain(",".join(values.values())):
            return f"the backend saw {name}: {seen}"
    trimmed = dict(step, expect=dict(expect), request=dict(step["request"]))
    trimmed["expect"]["backendRequest"] = {
        key: value for key, value in expect.get("backendRequest", {}).items() if key in ("headers", "absentHeaders")}
    trimmed["expect"]["backendRequest"].update(path=answer.echo["path"], method="POST")
    return echo_differs(trimmed, answer.echo)


def grpc(step, world, _):
    def attempt():
        answer = call(step, world)
        return grpc_differs(step, answer)

    return until(attempt, wanted=3)


def tcp_ask(step, world):
    with connect(step, world) as link:
        link.sendall(b"who is there\n")
        data = b""
        while not data.endswith(b"\n"):
            more = link.recv(65536)
            if not more:
                raise OSError("the connection ended")
            data += more
    return json.loads(data)


def tcp(step, world, _):
    expect = step["expect"]

    def attempt():
        said = tcp_ask(step, world)
        if not said["pod"].startswith(expect["backend"]) or said["namespace"] != expect["namespace"]:
            return f"answered by {said['namespace']}/{said['pod']}"
        if said["tls"] != expect.get("backendIsTLS", False):
            return f"the backend's connection has TLS: {said['tls']}"
        if "sniSeenByBackend" in expect and said["sni"] != expect["sniSeenByBackend"]:
            return f"the backend saw the name {said['sni']}"
        return None

    return until(attempt)


def tcp_repeat(step, world, _):
    for _ in range(step["requests"]):
        said = tcp_ask(dict(step, tls={}), world)
        if not said["pod"].startswith(step["expect"]["everyReplyFromBackend"]):
            return f"answered by {said['pod']}"
    return None


def tls_refused(step, world, _):
    step = dict(step, tls=dict(step["tls"], enabled=True))
    try:
        connect(step, world).close()
    except CERTIFICATE_FAULTS:
        return None
    return "the handshake was done"


def shares(step, world, _):
    target(step, world)  # with one proxy, before many ask at once

    def one(_):
        if step.get("protocol") == "tcp":
            return tcp_ask(dict(step, tls={}), world)["pod"]
        is_call = "service" in step["request"] or step["request"].get("protocol") == "grpc"
        return (call if is_call else ask)(step, world).echo["pod"]

    def attempt():
        counts = dict.fromkeys(step["weights"], 0)
        with concurrent.futures.ThreadPoolExecutor(step["concurrency"]) as pool:
            for pod in pool.map(one, range(step["requests"])):
                name = next((name for name in counts if pod.startswith(name)), None)
                if name is None:
                    return f"answered by {pod}"
                counts[name] += 1
        for name, weight in step["weights"].items():
            share = counts[name] / step["requests"]
            if abs(share - weight) > step["toleranceAbsolute"] or (weight == 0 and counts[name] > 0):
                return f"{name} got {share:.3f}, not {weight}"
        return None

    return until(attempt, tries=step["maxTries"])


def mirrored(step, world, _):
    def attempt():
        for backend in step["backends"]:
            if not any(pod.startswith(backend["name"]) and path == step["path"] for pod, path in world.backends.paths):
                return f"{backend['name']} saw no {step['path']}"
        return None

    return until(attempt, tries=40)


def mirrored_in_part(step, world, _):
    for path, percent in step["paths"].items():
        asked = {"kind": "http", "via": step["via"], "request": {"path": path}, "expect": {}}
        chance, count = percent / 100, step["requestsPerTry"]
        width = step["toleranceStdDevs"] * math.sqrt(count * chance * (1 - chance))

        def attempt():
            world.backends.paths.clear()
            for _ in range(count):
                ask(asked, world)
            time.sleep(0.2)
            seen = sum(1 for pod, at in world.backends.paths if pod.startswith(step["mirroredTo"]["name"]) and at == path)
            return None if abs(seen - count * chance) <= width else f"{path}: {seen} of {count}, not {percent} in 100"

        wrong = until(attempt, tries=step["maxTries"])
        if wrong:
            return wrong
    return None


def websocket(step, world, _):
    with connect(step, world) as link:
        link.sendall(
            f"GET {step['request']['path']} HTTP/1.1\r\nhost: gateway\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += link.recv(4096)
        if not data.startswith(b"HTTP/1.1 101"):
            return data[:100].decode()
        for message in step["messages"]:
            text = message.get("value", "").encode() or bytes(message.get("valueBytes", []))
            first = 0x81 if message["send"] == "text" else 0x82
            link.sendall(bytes([first, 0x80 | len(text), 0, 0, 0, 0]) + text)
            back = b""
            while len(back) < len(text) + 2:
                back += link.recv(4096)
            if back != bytes([first, len(text)]) + text:
                return f"{message} came back as {back}"
    return None


STEPS = {
    "status": check_status, "accepted": check_accepted, "ready": check_ready, "patch": change, "apply": apply,
    "delete": delete, "http": exchange, "https": exchange, "http-repeat": repeat, "grpc": grpc, "tcp": tcp,
    "tcp-repeat": tcp_repeat, "tls-connect": tls_refused, "weights": shares, "mirror-log": mirrored,
    "mirror-percentage": mirrored_in_part, "websocket": websocket,
}
