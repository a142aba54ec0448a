"""An API server behind the API server."""

import contextlib
import os
import subprocess
import sys
import tempfile

from client import name
from suite import ROOT, conformance, eventually, same

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
OWN = "/apis/space.example.com/v1/moons"


@contextlib.contextmanager
def extension(t, host):
    """The tests' own extension server, which believes the front proxy: its port and its authority in base64."""
    roots = t.client.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")["data"]["requestheader-client-ca-file"]
    with tempfile.NamedTemporaryFile("w", suffix=".crt") as file:
        file.write(roots)
        file.flush()
        program = os.path.join(ROOT, "Tests/APIServerTests/Peers/aggregated_server.py")
        process = subprocess.Popen([sys.executable, program, file.name, host], stdout=subprocess.PIPE, text=True)
        try:
            yield int(process.stdout.readline()), process.stdout.readline().strip()
        finally:
            process.kill()
            process.wait()


def condition(t, title):
    """What the server says of the APIService: its status and its reason."""
    found = t.client.get(f"{SERVICES}/{title}/status").get("status", {}).get("conditions", [])
    return next(((c["status"], c["reason"]) for c in found if c["type"] == "Available"), None)


@conformance("[sig-api-machinery] Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator [LinuxOnly]")
def sample_server(t):
    title, labels = "v1.space.example.com", {"apiservice": "sample"}
    with t.namespace() as namespace, extension(t, f"sample-api.{namespace}.svc") as (port, authority):
        t.client.create(f"/api/v1/namespaces/{namespace}/services",
                        {"metadata": {"name": "sample-api"}, "spec": {"type": "ExternalName", "externalName": "localhost"}})
        t.client.create(SERVICES, {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": title, "labels": labels}, "spec": {
            "group": "space.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 200, "caBundle": authority,
            "service": {"namespace": namespace, "name": "sample-api", "port": port}}})
        try:
            used(t, title)
        finally:
            t.client.delete(SERVICES, labelSelector="apiservice=sample")
        eventually("the group's end", lambda: t.client.raw("GET", "/apis/space.example.com/v1")[0] == 404)
        same("services of the label", t.client.get(SERVICES, labelSelector="apiservice=sample")["items"], [])


def used(t, title):
    eventually("an available server", lambda: condition(t, title) == ("True", "Passed"))
    eventually("the group in discovery", lambda: "space.example.com" in [g["name"] for g in t.client.get("/apis")["groups"]])
    t.client.create(OWN, {"apiVersion": "space.example.com/v1", "kind": "Moon", "metadata": {"name": "rest-moon"}, "spec": {"size": 1}})
    assert "rest-moon" in [name(item) for item in t.client.get(OWN)["items"]]
    assert "rest-moon" in t.kubectl("get", "moons.space.example.com").stdout
    t.client.delete(f"{OWN}/rest-moon")
    assert "rest-moon" not in [name(item) for item in t.client.get(OWN)["items"]]

    # Its status is written like any other, and found again by the server.
    found = t.client.get(f"{SERVICES}/{title}")
    found["status"]["conditions"].append({"type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "set by a test"})
    t.client.replace(f"{SERVICES}/{title}/status", found)
    assert "StatusUpdated" in [c["type"] for c in t.client.get(f"{SERVICES}/{title}/status")["status"]["conditions"]]
    t.client.patch(f"{SERVICES}/{title}", {"metadata": {"labels": {"patched": "yes"}}})
    same("found by its new label", [name(item) for item in t.client.get(SERVICES, labelSelector="patched=yes")["items"]], [title])
    eventually("it stays available", lambda: condition(t, title) == ("True", "Passed"))
