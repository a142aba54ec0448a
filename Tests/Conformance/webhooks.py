"""Webhooks that answer: a server of this suite, over HTTPS on loopback, which the API server calls by URL."""

import base64
import contextlib
import http.server
import json
import os
import ssl
import subprocess
import tempfile
import threading
import time

from client import name
from controllers import ready_account
from policies import configuration, kind_path, webhook_test
from suite import IMAGE, config_map, conformance, crd, crd_version, defined, eventually, pod, same, unique


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = self.server.answers[self.path.split("?")[0]](review["request"])
        text = json.dumps(dict(review, request=None, response=dict(answer, uid=review["request"]["uid"]))).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def allow(_):
    return {"allowed": True}


def deny(why):
    return lambda _: {"allowed": False, "status": {"message": why}}


def patching(operations):
    """Answers with what `operations` makes of the object."""
    def answer(request):
        patch = operations(request["object"])
        text = base64.b64encode(json.dumps(patch).encode()).decode()
        return {"allowed": True, "patchType": "JSONPatch", "patch": text} if patch else {"allowed": True}
    return answer


@contextlib.contextmanager
def serving(answers):
    """Serves answers by path. Gives `clientConfig` for a path."""
    with tempfile.TemporaryDirectory() as directory:
        key, certificate = os.path.join(directory, "key"), os.path.join(directory, "crt")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                        "-days", "2", "-subj", "/CN=hook", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        with open(certificate, "rb") as file:
            root = base64.b64encode(file.read()).decode()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.answers = answers
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield lambda path: {"url": f"https://127.0.0.1:{server.server_address[1]}{path}", "caBundle": root}
        finally:
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def hooked(t, kind, label, client_config, rules=None, **more):
    """A configuration with one webhook for namespaces of a label."""
    made = configuration(label, clientConfig=client_config, failurePolicy="Fail", timeoutSeconds=5, **more)
    made["metadata"]["name"] = unique("hook")
    if rules:
        made["webhooks"][0]["rules"] = rules
    t.client.create(kind_path(kind), made)
    try:
        yield made
    finally:
        t.client.raw("DELETE", f"{kind_path(kind)}/{made['metadata']['name']}")


def rule(group, version, resource, *operations):
    return {"apiGroups": [group], "apiVersions": [version], "resources": [resource], "operations": list(operations)}


DENIED = deny("the pod contains unwanted container name")


def refused(t, path, thing, words):
    """The webhook is in force: this is refused, with its words."""
    def check():
        status, _, text = t.client.raw("POST", path, thing)
        return status in (400, 403) and words in text.decode()
    eventually("the webhook's refusal", check)


@webhook_test("should be able to deny pod and configmap creation")
def deny_creation(t):
    label = unique("deny")
    with serving({"/deny": DENIED}) as at, hooked(
            t, "validating", label, at("/deny"), [rule("", "v1", "pods", "CREATE"), rule("", "v1", "configmaps", "CREATE", "UPDATE")]):
        with t.namespace({label: "yes"}) as namespace:
            own = f"/api/v1/namespaces/{namespace}"
            ready_account(t, namespace)
            refused(t, f"{own}/configmaps", config_map("disallowed"), "unwanted container name")
            refused(t, f"{own}/pods", pod("disallowed"), "unwanted container name")
        with t.namespace() as other:
            t.client.create(f"/api/v1/namespaces/{other}/configmaps", config_map("allowed"))


@webhook_test("should be able to deny attaching pod")
def deny_attach(t):
    label = unique("attach")
    with serving({"/attach": deny("attaching to pod 'to-be-attached-pod' is not allowed")}) as at, hooked(
            t, "validating", label, at("/attach"), [rule("", "v1", "pods/attach", "CONNECT")]):
        with t.namespace({label: "yes"}) as namespace:
            ready_account(t, namespace)
            own = f"/api/v1/namespaces/{namespace}/pods"
            t.client.create(own, pod("to-be-attached-pod"))
            eventually("the pod to run", lambda: t.client.get(f"{own}/to-be-attached-pod")["status"].get("phase") == "Running")
            told = t.kubectl("attach", "-n", namespace, "to-be-attached-pod", "-c=app", check=False, timeout=30)
            assert told.returncode == 1 and "attaching to pod 'to-be-attached-pod' is not allowed" in told.stderr, told.stderr


@webhook_test("should be able to deny custom resource creation, update and deletion")
def deny_custom(t):
    label, group = unique("custom"), unique("g") + ".example.com"

    def answer(request):
        thing = request.get("object") or request.get("oldObject")
        bad = thing.get("data", {}).get("webhook-e2e-test") == "webhook-disallow"
        return {"allowed": not bad, "status": {"message": "the custom resource contains unwanted data"}}
    with defined(t.client, crd("foos", "Foo", group)), serving({"/custom": answer}) as at, hooked(
            t, "validating", label, at("/custom"), [rule(group, "*", "foos", "CREATE", "UPDATE", "DELETE")]):
        with t.namespace({label: "yes"}) as namespace:
            path = f"/apis/{group}/v1/namespaces/{namespace}/foos"
            made = {"apiVersion": f"{group}/v1", "kind": "Foo", "metadata": {"name": "one"}, "data": {"webhook-e2e-test": "webhook-disallow"}}
            refused(t, path, made, "the custom resource contains unwanted data")
            made["data"] = {"webhook-e2e-test": "webhook-allow"}
            t.client.create(path, made)
            status, _, text = t.client.raw("PATCH", f"{path}/one", {"data": {"webhook-e2e-test": "webhook-disallow"}},
                                           {"Content-Type": "application/merge-patch+json"})
            assert status in (400, 403) and b"unwanted data" in text, text


@webhook_test("should deny crd creation")
def deny_crd(t):
    label = unique("crd")
    with serving({"/crd": deny("the crd contains unwanted label")}) as at, hooked(
            t, "validating", label, at("/crd"), [rule("apiextensions.k8s.io", "*", "customresourcedefinitions", "CREATE")],
            namespaceSelector={}, objectSelector={"matchLabels": {"webhook-e2e-test": label}}):
        made = crd("foos", "Foo", unique("g") + ".example.com")
        made["metadata"]["labels"] = {"webhook-e2e-test": label}
        refused(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", made, "the crd contains unwanted label")


@webhook_test("should honor timeout")
def timeout(t):
    label = unique("slow")

    def slow(_):
        time.sleep(3)
        return {"allowed": True}
    with serving({"/slow": slow}) as at:
        with t.namespace({label: "yes"}) as namespace:
            path = f"/api/v1/namespaces/{namespace}/configmaps"

            def tried(seconds, policy):
                made = configuration(label, clientConfig=at("/slow"), failurePolicy=policy, timeoutSeconds=seconds)
                made["metadata"]["name"] = unique("slow")
                t.client.create(kind_path("validating"), made)
                try:
                    time.sleep(0.5)
                    return t.client.raw("POST", path, config_map(unique("c")))
                finally:
                    t.client.delete(f"{kind_path('validating')}/{made['metadata']['name']}")
            status, _, text = tried(1, "Fail")
            assert status == 500 and b"imeout" in text or b"deadline" in text, (status, text)
            same("ignored", tried(1, "Ignore")[0], 201)
            same("long enough", tried(6, "Fail")[0], 201)


def adding(key):
    return patching(lambda thing: [{"op": "add", "path": f"/data/{key}", "value": "yes"}])


@webhook_test("should mutate configmap")
def mutate_config_map(t):
    label = unique("mutate")

    def first(thing):
        return [{"op": "add", "path": "/data/mutation-stage-1", "value": "yes"}] if thing["data"].get("mutation-start") == "yes" else []

    def second(thing):
        return [{"op": "add", "path": "/data/mutation-stage-2", "value": "yes"}] if thing["data"].get("mutation-stage-1") == "yes" else []
    with serving({"/1": patching(first), "/2": patching(second)}) as at:
        made = configuration(label)
        hook = made["webhooks"][0]
        made["webhooks"] = [dict(hook, name=f"hook-{n}.example.com", clientConfig=at(f"/{n}"), failurePolicy="Fail", timeoutSeconds=5) for n in (1, 2)]
        made["metadata"]["name"] = label
        t.client.create(kind_path("mutating"), made)
        try:
            with t.namespace({label: "yes"}) as namespace:
                path = f"/api/v1/namespaces/{namespace}/configmaps"
                wanted = {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}
                start = {"mutation-start": "yes"}
                eventually("both changes", lambda: t.client.create(path, config_map(unique("c"), **start))["data"] == wanted)
        finally:
            t.client.delete(f"{kind_path('mutating')}/{label}")


@webhook_test("should mutate pod and apply defaults after mutation")
def mutate_pod(t):
    label = unique("pod")

    def init(_):
        container = {"name": "webhook-added-init-container", "image": IMAGE, "resources": {}}
        return [{"op": "add", "path": "/spec/initContainers", "value": [container]}]
    with serving({"/pod": patching(init)}) as at, hooked(t, "mutating", label, at("/pod"), [rule("", "v1", "pods", "CREATE")]):
        with t.namespace({label: "yes"}) as namespace:
            ready_account(t, namespace)
            path = f"/api/v1/namespaces/{namespace}/pods"

            def changed():
                found = t.client.create(path, pod(unique("p")), dryRun="All")["spec"].get("initContainers", [])
                return found and found[0]
            added = eventually("the added container", changed)
            same("its defaults", (added["terminationMessagePolicy"], added["terminationMessagePath"]), ("File", "/dev/termination-log"))


@webhook_test("should mutate everything except 'skip-me' configmaps")
def skip_me(t):
    label = unique("skip")
    with serving({"/all": adding("mutated")}) as at, hooked(
            t, "mutating", label, at("/all"), matchConditions=[{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]):
        with t.namespace({label: "yes"}) as namespace:
            path = f"/api/v1/namespaces/{namespace}/configmaps"
            eventually("the change", lambda: t.client.create(path, config_map(unique("c"), a="b"))["data"].get("mutated"))
            same("skipped", t.client.create(path, config_map("skip-me", a="b"))["data"], {"a": "b"})


def custom_mutation(title, versions, check):
    @webhook_test(title)
    def run(t):
        label, group = unique("custom"), unique("g") + ".example.com"
        change, called = adding("mutation-stage-1"), []

        def answer(request):
            called.append(request["name"])
            return change(request)
        with defined(t.client, crd("foos", "Foo", group, versions)) as made, serving({"/1": answer}) as at, hooked(
                t, "mutating", label, at("/1"), [rule(group, "*", "foos", "CREATE", "UPDATE")]):
            with t.namespace({label: "yes"}) as namespace:
                check(t, group, made, f"/apis/{group}/v1/namespaces/{namespace}/foos", called)
    return run


def foo(group, title, served="v1"):
    return {"apiVersion": f"{group}/{served}", "kind": "Foo", "metadata": {"name": title}, "data": {"mutation-start": "yes"}}


def seen_mutated(t, group, made, path, called):
    wanted = {"mutation-start": "yes", "mutation-stage-1": "yes"}
    eventually("the change", lambda: t.client.create(path, foo(group, unique("f")))["data"] == wanted)


custom_mutation("should mutate custom resource", None, seen_mutated)

PRUNING = {"type": "object", "properties": {"data": {"type": "object", "properties": {"mutation-start": {"type": "string"}, "mutation-stage-2": {"type": "string"}}}}}


def seen_pruned(t, group, made, path, called):
    def asked():
        """What came of an object the webhook was asked about: it adds a field the schema does not know."""
        title = unique("f")
        done = t.client.create(path, foo(group, title))
        return done if title in called else None
    same("pruned", eventually("the webhook", asked)["data"], {"mutation-start": "yes"})


custom_mutation("should mutate custom resource with pruning", [crd_version("v1", PRUNING)], seen_pruned)


def stored_elsewhere(t, group, made, path, called):
    eventually("the change", lambda: t.client.create(path, foo(group, unique("f")))["data"].get("mutation-stage-1"))
    t.client.create(path, foo(group, "one"))
    own = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name(made)}"
    t.client.patch(own, [{"op": "replace", "path": "/spec/versions/0/storage", "value": False},
                         {"op": "replace", "path": "/spec/versions/1/storage", "value": True}], "json")
    done = eventually("a change in the other version", lambda: t.client.patch(f"{path}/one", {"dummy": "test"}))
    same("still mutated", done["data"].get("mutation-stage-1"), "yes")


custom_mutation("should mutate custom resource with different stored version", [crd_version("v1"), crd_version("v2", storage=False)], stored_elsewhere)


@webhook_test("should not be able to mutate or prevent deletion of webhook configuration objects")
def not_themselves(t):
    label = unique("self")
    rules = [rule("admissionregistration.k8s.io", "*", "*", "CREATE", "UPDATE", "DELETE"), rule("", "v1", "configmaps", "CREATE")]
    with serving({"/deny": deny("no, never"), "/add": patching(lambda thing: [{"op": "add", "path": "/metadata/labels", "value": {"changed": "yes"}}])}) as at:
        with hooked(t, "validating", label, at("/deny"), rules), hooked(t, "mutating", label, at("/add"), rules):
            with t.namespace({label: "yes"}) as namespace:
                # In force for what else it is about, so also for what it must not touch.
                refused(t, f"/api/v1/namespaces/{namespace}/configmaps", config_map("x"), "no, never")
            for kind in ("validating", "mutating"):
                made = configuration(unique("x"))
                made["metadata"]["name"] = unique("victim")
                done = t.client.create(kind_path(kind), made)
                assert not done["metadata"].get("labels"), done["metadata"]
                t.client.delete(f"{kind_path(kind)}/{name(done)}")


def switched(t, kind, answer, holds):
    """A webhook's operations are taken away and given back; `holds` says whether it is in force."""
    label = unique("switch")
    with serving({"/x": answer}) as at, hooked(t, kind, label, at("/x")) as made:
        with t.namespace({label: "yes"}) as namespace:
            path = f"/api/v1/namespaces/{namespace}/configmaps"
            own = f"{kind_path(kind)}/{made['metadata']['name']}"

            def check():
                return holds(t.client.raw("POST", path, config_map(unique("c"), a="b")))
            eventually("the webhook", check)
            found = t.client.get(own)
            found["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
            t.client.replace(own, found)
            eventually("its end", lambda: not check())
            t.client.patch(own, [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}], "json")
            eventually("the webhook again", check)


@webhook_test("patching/updating a validating webhook should work")
def switch_validating(t):
    switched(t, "validating", deny("no"), lambda answer: answer[0] in (400, 403))


@webhook_test("patching/updating a mutating webhook should work")
def switch_mutating(t):
    switched(t, "mutating", adding("mutated"), lambda answer: b"mutated" in answer[2])


# Conversion.

class Conversion(Handler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = review["request"]
        converted = []
        for thing in request["objects"]:
            thing = dict(thing, apiVersion=request["desiredAPIVersion"])
            if request["desiredAPIVersion"].endswith("/v2") and "hostPort" in thing:
                thing["host"], thing["port"] = thing.pop("hostPort").split(":")
            elif request["desiredAPIVersion"].endswith("/v1") and "host" in thing:
                thing["hostPort"] = f"{thing.pop('host')}:{thing.pop('port')}"
            converted.append(thing)
        answer = {"uid": request["uid"], "convertedObjects": converted, "result": {"status": "Success"}}
        text = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def converting(t, check):
    group = unique("conv") + ".example.com"
    with serving({}) as at:
        Handler.do_POST, before = Conversion.do_POST, Handler.do_POST
        try:
            versions = [crd_version("v1", {"type": "object", "properties": {"hostPort": {"type": "string"}}}),
                        crd_version("v2", {"type": "object", "properties": {"host": {"type": "string"}, "port": {"type": "string"}}}, storage=False)]
            conversion = {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": at("/convert")}}
            with defined(t.client, crd("servers", "Server", group, versions, conversion=conversion)) as made, t.namespace() as namespace:
                check(group, made, namespace)
        finally:
            Handler.do_POST = before


def conversion_test(title):
    return conformance("[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] " + title)


@conversion_test("should be able to convert from CR v1 to CR v2")
def convert(t):
    def check(group, made, namespace):
        thing = {"apiVersion": f"{group}/v1", "kind": "Server", "metadata": {"name": "one"}, "hostPort": "localhost:8080"}
        t.client.create(f"/apis/{group}/v1/namespaces/{namespace}/servers", thing)
        found = t.client.get(f"/apis/{group}/v2/namespaces/{namespace}/servers/one")
        same("as v2", (found["apiVersion"], found["host"], found["port"]), (f"{group}/v2", "localhost", "8080"))
    converting(t, check)


@conversion_test("should be able to convert a non homogeneous list of CRs")
def convert_list(t):
    def check(group, made, namespace):
        first, second = (f"/apis/{group}/{v}/namespaces/{namespace}/servers" for v in ("v1", "v2"))
        t.client.create(first, {"apiVersion": f"{group}/v1", "kind": "Server", "metadata": {"name": "one"}, "hostPort": "localhost:8080"})
        own = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name(made)}"
        t.client.patch(own, [{"op": "replace", "path": "/spec/versions/0/storage", "value": False},
                             {"op": "replace", "path": "/spec/versions/1/storage", "value": True}], "json")
        thing = {"apiVersion": f"{group}/v2", "kind": "Server", "metadata": {"name": "two"}, "host": "localhost", "port": "9090"}
        eventually("the second, stored in v2", lambda: t.client.create(second, thing))
        same("all as v1", sorted(i["hostPort"] for i in t.client.get(first)["items"]), ["localhost:8080", "localhost:9090"])
        same("all as v2", sorted(i["port"] for i in t.client.get(second)["items"]), ["8080", "9090"])
    converting(t, check)
