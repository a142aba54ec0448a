"""The register of tests by the names Kubernetes has for them, and what they share."""

import contextlib
import json
import os
import random
import time

TESTS = {}
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
IMAGE = "weft.dev/demo:v1"


def conformance(name):
    """Registers a test under its upstream name, without the trailing mark."""
    def register(test):
        assert name not in TESTS, name
        TESTS[name] = test
        return test
    return register


class Cluster:
    """What a test is given."""

    def __init__(self, cluster, client):
        self.cluster, self.client = cluster, client

    @contextlib.contextmanager
    def namespace(self, labels=None):
        """A namespace of its own, gone afterwards."""
        made = self.client.create("/api/v1/namespaces", {"metadata": {"generateName": "conformance-", "labels": labels or {}}})
        try:
            yield made["metadata"]["name"]
        finally:
            self.client.raw("DELETE", f"/api/v1/namespaces/{made['metadata']['name']}")

    def kubectl(self, *words, **more):
        return self.cluster.kubectl(*words, **more)


def eventually(what, condition, seconds=120, pause=0.1):
    """The first true answer of a condition."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last
        except (AssertionError, OSError, KeyError) as error:
            last = error
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s for {what}; last seen: {last!r}")


def unique(prefix):
    return f"{prefix}-{random.randrange(1 << 32):08x}"


def pod(name, labels=None, **spec):
    container = {"name": "app", "image": IMAGE, "args": ["echo"]}
    container.update(spec.pop("container", {}))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
            "spec": dict({"containers": [container], "terminationGracePeriodSeconds": 0}, **spec)}


def template(labels, **container):
    return {"metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0,
                     "containers": [dict({"name": "app", "image": IMAGE, "args": ["echo"]}, **container)]}}


def deployment(name, replicas=1, labels=None):
    labels = labels or {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template(labels)}}


def config_map(name, labels=None, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data}


def crd(plural, kind, group, versions=None, scope="Namespaced", **spec):
    """A definition whose objects have a `spec` of anything, unless versions say more."""
    if versions is None:
        versions = [crd_version("v1")]
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": dict({"group": group, "scope": scope, "versions": versions,
                          "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": kind + "List"}}, **spec)}


def crd_version(name, schema=None, storage=True, served=True, **more):
    schema = schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return dict({"name": name, "served": served, "storage": storage, "schema": {"openAPIV3Schema": schema}}, **more)


@contextlib.contextmanager
def defined(client, definition):
    """A CRD that is established, gone afterwards."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = client.create(path, definition)
    own = f"{path}/{made['metadata']['name']}"

    def established():
        conditions = client.get(own).get("status", {}).get("conditions", [])
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
    try:
        eventually("the definition to be established", established)
        yield made
    finally:
        client.raw("DELETE", own)


def same(what, found, wanted):
    assert found == wanted, f"{what}: {json.dumps(found)[:500]} is not {json.dumps(wanted)[:500]}"
