"""kubectl."""

import contextlib
import json
import os
import re
import socket
import tempfile
import urllib.request

from controllers import controller, ready_account
from suite import conformance, deployment, eventually, pod, same, template


def client_test(title):
    return conformance("[sig-cli] Kubectl client " + title)


class Kubectl:
    """kubectl in one namespace."""

    def __init__(self, t, namespace):
        self.t, self.namespace = t, namespace

    def __call__(self, *words, **more):
        return self.t.kubectl("-n", self.namespace, *words, **more).stdout

    def apply(self, thing, verb="create"):
        return self(verb, "-f", "-", input=json.dumps(thing))


@contextlib.contextmanager
def working(t):
    """A namespace with its account, and kubectl in it."""
    with t.namespace() as namespace:
        ready_account(t, namespace)
        yield Kubectl(t, namespace), namespace


def running(t, namespace, selector, count):
    def check():
        found = t.client.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)["items"]
        alive = [p for p in found if not p["metadata"].get("deletionTimestamp")]
        return len(alive) == count and all(p["status"].get("phase") == "Running" for p in alive) and (alive or True)
    return eventually(f"{count} running pods of {selector}", check)


@client_test("Kubectl version should check is all data is printed")
def version(t):
    told = t.kubectl("version").stdout
    assert "Client Version" in told and "Server Version" in told, told


@client_test("Kubectl api-versions should check if v1 is in available api versions")
def api_versions(t):
    assert "v1" in t.kubectl("api-versions").stdout.split("\n")


@client_test("Kubectl cluster-info should check if Kubernetes control plane services is included in cluster-info")
def cluster_info(t):
    told = t.kubectl("cluster-info").stdout
    assert "Kubernetes control plane" in told and "is running at" in told, told


@client_test("Kubectl diff should check if kubectl diff finds a difference for Deployments")
def diff(t):
    with working(t) as (kubectl, namespace):
        kubectl.apply(deployment("httpd", replicas=0), "apply")
        changed = deployment("httpd", replicas=0)
        changed["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:1.29"
        told = t.kubectl("-n", namespace, "diff", "-f", "-", input=json.dumps(changed), check=False)
        same("exit code", told.returncode, 1)
        assert re.search(r"^-\s+image: weft.dev/demo:v1$", told.stdout, re.M) and re.search(r"^\+\s+image: busybox:1.29$", told.stdout, re.M), told.stdout


@client_test("Kubectl server-side dry-run should check if kubectl can dry-run update Pods")
def dry_run(t):
    with working(t) as (kubectl, namespace):
        kubectl("run", "dry", "--image=weft.dev/demo:v1", "--labels=run=dry")
        kubectl("patch", "pod", "dry", "--dry-run=server", "-p", json.dumps({"spec": {"containers": [{"name": "dry", "image": "busybox:1.29"}]}}))
        same("the image", t.client.get(f"/api/v1/namespaces/{namespace}/pods/dry")["spec"]["containers"][0]["image"], "weft.dev/demo:v1")


@client_test("Kubectl run pod should create a pod from an image when restart is Never")
def run_pod(t):
    with working(t) as (kubectl, namespace):
        kubectl("run", "once", "--restart=Never", "--image=weft.dev/demo:v1")
        same("policy", t.client.get(f"/api/v1/namespaces/{namespace}/pods/once")["spec"]["restartPolicy"], "Never")


@client_test("Kubectl replace should update a single-container pod's image")
def replace(t):
    with working(t) as (kubectl, namespace):
        kubectl("run", "single", "--image=weft.dev/demo:v1", "--labels=run=single")
        running(t, namespace, "run=single", 1)
        found = kubectl("get", "pod", "single", "-o", "json")
        kubectl("replace", "-f", "-", input=found.replace('"image": "weft.dev/demo:v1"', '"image": "weft.dev/demo:v2"', 1))
        same("the image", t.client.get(f"/api/v1/namespaces/{namespace}/pods/single")["spec"]["containers"][0]["image"], "weft.dev/demo:v2")


@client_test("Kubectl label should update the label on a resource")
def label(t):
    with working(t) as (kubectl, namespace):
        kubectl.apply(pod("pause", {"name": "pause"}))
        kubectl("label", "pods", "pause", "testing-label=testing-label-value")
        assert "testing-label-value" in kubectl("get", "pod", "pause", "-L", "testing-label")
        kubectl("label", "pods", "pause", "testing-label-")
        assert "testing-label-value" not in kubectl("get", "pod", "pause", "-L", "testing-label")


@client_test("Kubectl patch should add annotations for pods in rc")
def patch(t):
    with working(t) as (kubectl, namespace):
        kubectl.apply(controller("agnhost-primary", 1))
        for one in running(t, namespace, "name=agnhost-primary", 1):
            title = one["metadata"]["name"]
            kubectl("patch", "pod", title, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
            same("annotation", t.client.get(f"/api/v1/namespaces/{namespace}/pods/{title}")["metadata"]["annotations"]["x"], "y")


@client_test("Kubectl expose should create services for rc")
def expose(t):
    with working(t) as (kubectl, namespace):
        made = controller("agnhost-primary", 1)
        made["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 8080}]
        kubectl.apply(made)
        running(t, namespace, "name=agnhost-primary", 1)

        def check(title, port):
            service = t.client.get(f"/api/v1/namespaces/{namespace}/services/{title}")
            same("port", (service["spec"]["ports"][0]["port"], service["spec"]["ports"][0]["targetPort"]), (port, 8080))
            eventually("an endpoint", lambda: t.client.get(f"/api/v1/namespaces/{namespace}/endpoints/{title}")["subsets"][0]["addresses"])
        kubectl("expose", "rc", "agnhost-primary", "--name=rm2", "--port=1234", "--target-port=8080")
        check("rm2", 1234)
        kubectl("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=8080")
        check("rm3", 2345)


@client_test("Kubectl describe should check if kubectl describe prints relevant information for rc and pods")
def describe(t):
    with working(t) as (kubectl, namespace):
        kubectl.apply(controller("agnhost-primary", 1))
        kubectl("create", "service", "clusterip", "agnhost-primary", "--tcp=6379:8080")
        one = running(t, namespace, "name=agnhost-primary", 1)[0]
        for words, wanted in (
                (("pod", one["metadata"]["name"]), ("Name:", "Namespace:", "Node:", "Labels:", "name=agnhost-primary", "Status:", "Running", "IP:",
                                                    "Controlled By:", "ReplicationController/agnhost-primary", "Image:", "State:", "QoS Class:")),
                (("rc", "agnhost-primary"), ("Name:", "Namespace:", "Selector:", "name=agnhost-primary", "Labels:", "Replicas:", "1 current", "1 desired",
                                             "Pods Status:", "1 Running", "Pod Template:", "Image:", "Events:")),
                (("service", "agnhost-primary"), ("Name:", "Selector:", "Type:", "ClusterIP", "IP:", "Port:", "6379/TCP", "Endpoints:", "Session Affinity:")),
                (("namespace", namespace), ("Name:", "Labels:", "Annotations:", "Status:", "Active"))):
            told = kubectl("describe", *words)
            for word in wanted:
                assert word in told, f"describe {words}: no {word!r} in {told}"
        node = t.client.get("/api/v1/nodes")["items"][0]["metadata"]["name"]
        told = kubectl("describe", "node", node)
        for word in ("Name:", "Labels:", "Annotations:", "CreationTimestamp:", "Conditions:", "Addresses:", "Capacity:", "Version:", "Pods:"):
            assert word in told, f"describe node: no {word!r} in {told}"


@client_test("Update Demo should create and stop a replication controller")
def update_demo(t):
    with working(t) as (kubectl, namespace):
        kubectl.apply(controller("update-demo", 2))
        running(t, namespace, "name=update-demo", 2)
        kubectl("delete", "--grace-period=0", "--force", "rc", "update-demo")
        eventually("the pods' end", lambda: not t.client.get(f"/api/v1/namespaces/{namespace}/pods")["items"])


@client_test("Update Demo should scale a replication controller")
def scale_demo(t):
    with working(t) as (kubectl, namespace):
        kubectl.apply(controller("update-demo", 2))
        for count in (2, 1, 2):
            kubectl("scale", "rc", "update-demo", f"--replicas={count}", "--timeout=60s")
            running(t, namespace, "name=update-demo", count)


@client_test("Guestbook application should create and stop a working application")
def guestbook(t):
    with working(t) as (kubectl, namespace):
        for title, count in (("agnhost-primary", 1), ("agnhost-replica", 2), ("frontend", 3)):
            labels = {"app": title}
            made = deployment(title, count, labels)
            made["spec"]["template"] = template(labels, ports=[{"containerPort": 8080}])
            kubectl.apply(made)
            kubectl.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": title, "labels": labels},
                           "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}})
        running(t, namespace, "app=frontend", 3)
        path = f"/api/v1/namespaces/{namespace}/services/frontend:80/proxy/readyz"
        eventually("an answer of the frontend", lambda: t.client.raw("GET", path)[0] == 200)
        for title in ("agnhost-primary", "agnhost-replica", "frontend"):
            kubectl("delete", "deployment,service", title)


def proxied(t, *words):
    """What `/api` says through a kubectl proxy."""
    return t.cluster.start_kubectl("proxy", *words)


@client_test("Proxy server should support proxy with --port 0")
def proxy_port(t):
    process = proxied(t, "-p", "0", "--disable-filter")
    try:
        # A warning about the filter comes first.
        said = next(line for line in process.stdout if "Starting to serve on" in line)
        port = int(re.search(r"127\.0\.0\.1:(\d+)", said).group(1))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/", timeout=60) as answer:
            assert json.loads(answer.read())["versions"] == ["v1"]
    finally:
        process.terminate()
        process.wait(60)


@client_test("Proxy server should support --unix-socket=/path")
def proxy_socket(t):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "test")
        process = proxied(t, f"--unix-socket={path}")
        try:
            assert "Starting to serve on" in process.stdout.readline()
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(path)
                line.sendall(b"GET /api/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
                told = b""
                while part := line.recv(65536):
                    told += part
            assert b'"APIVersions"' in told, told
        finally:
            process.terminate()
            process.wait(60)


@conformance("[sig-cli] Kubectl logs logs should be able to retrieve and filter logs")
def logs(t):
    with working(t) as (kubectl, namespace):
        script = "i=0; while [ $i -lt 100 ]; do echo line-$i; i=$((i+1)); done; sleep 600"
        kubectl.apply(pod("logs-generator", container={"command": ["sh", "-c", script], "args": []}))
        eventually("all lines", lambda: "line-99" in kubectl("logs", "logs-generator"))
        same("tail", kubectl("logs", "logs-generator", "app", "--tail=1"), "line-99\n")
        same("limit", kubectl("logs", "logs-generator", "app", "--limit-bytes=1"), "l")
        stamped = kubectl("logs", "logs-generator", "app", "--tail=1", "--timestamps")
        assert re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d) line-99$", stamped.strip()), stamped
        same("since a time to come", kubectl("logs", "logs-generator", "app", "--since-time=2100-01-01T00:00:00Z"), "")
        assert "line-99" in kubectl("logs", "logs-generator", "app", "--since=24h")
