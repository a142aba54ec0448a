"""300 CRDs: how long discovery takes with them, and what each costs in memory."""

import base64
import http.client
import json
import os
import re
import ssl
import statistics
import tempfile
import time

COUNT = 300
ASKED = 300
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def connection(server):
    """An administrator's, by the kubeconfig the server wrote."""
    with open(os.path.join(server.directory, "kubeconfig")) as file:
        text = file.read()
    context = ssl._create_unverified_context()
    with tempfile.NamedTemporaryFile() as file:
        for member in ("client-certificate-data", "client-key-data"):
            file.write(base64.b64decode(re.search(member + r":\s*\"?([A-Za-z0-9+/=]+)", text).group(1)) + b"\n")
        file.flush()
        context.load_cert_chain(file.name)
    return http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=60)


def resident(server):
    """KiB of the server's memory that are its own."""
    with open(f"/proc/{server.process.pid}/smaps_rollup") as file:
        text = file.read()
    return sum(int(value) for value in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.M))


def crd(number):
    """As operators write them: some hundred fields, conditions, rules, columns, two versions."""
    def part(depth):
        fields = {
            f"field{index}": {"type": "string", "description": "What it is good for, in a sentence or two.", "maxLength": 253}
            for index in range(12)
        }
        fields["count"] = {"type": "integer", "format": "int32", "minimum": 0, "default": 1}
        fields["labels"] = {"type": "object", "additionalProperties": {"type": "string"}}
        fields["list"] = {
            "type": "array", "maxItems": 20, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string", "maxLength": 63}, "value": {"type": "string", "maxLength": 253}}},
        }
        if depth:
            fields["template"] = part(depth - 1)
            fields["policy"] = part(depth - 1)
        return {"type": "object", "properties": fields,
                "x-kubernetes-validations": [{"rule": "!has(self.field0) || self.field0 != 'no'", "message": "may not be no"}]}

    schema = {"openAPIV3Schema": {"type": "object", "properties": {
        "spec": part(2),
        "status": {"type": "object", "properties": {"conditions": {"type": "array", "items": {
            "type": "object", "properties": {"type": {"type": "string"}, "status": {"type": "string"}}}}}},
    }}}
    versions = [{
        "name": name, "served": True, "storage": name == "v1", "schema": schema, "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
    } for name in ("v1", "v1beta1")]
    group = f"group{number % 30}.example.com"
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things{number}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "versions": versions,
                 "names": {"plural": f"things{number}", "kind": f"Thing{number}"}},
    }


def ask(link, method, path, body=None, accept="application/json"):
    link.request(method, path, body and json.dumps(body), {"accept": accept, "content-type": "application/json"})
    answer = link.getresponse()
    return answer.status, answer.read()


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def measure(server):
    """Rows of figures, of a server that runs and holds nothing yet."""
    link = connection(server)
    ask(link, "GET", "/apis", accept=AGGREGATED)
    before = resident(server)
    begin = time.monotonic()
    for number in range(COUNT):
        status, text = ask(link, "POST", CRDS, crd(number))
        assert status == 201, text
    while True:
        _, text = ask(link, "GET", CRDS)
        items = json.loads(text)["items"]
        done = sum(any(c["type"] == "Established" and c["status"] == "True" for c in item["status"].get("conditions", []))
                   for item in items)
        if done == COUNT:
            break
        time.sleep(0.05)
    applied = time.monotonic() - begin
    times = []
    for _ in range(ASKED):
        start = time.monotonic()
        status, text = ask(link, "GET", "/apis", accept=AGGREGATED)
        times.append(time.monotonic() - start)
        assert status == 200
    found = sum(len(version["resources"]) for item in json.loads(text)["items"] for version in item["versions"])
    assert found >= 2 * COUNT, found
    time.sleep(2)
    each = (resident(server) - before) / COUNT
    return [
        {"name": "apiserver, 300 CRDs, discovery p99", "unit": "ms", "ours": statistics.quantiles(times, n=100)[98] * 1000},
        {"name": "apiserver, 300 CRDs, memory of each", "unit": "KiB", "ours": each},
        {"name": "apiserver, 300 CRDs, applied and established", "unit": "s", "ours": applied},
    ]
