"""The journeys, in the order of their names; they share one cluster."""

import os
import signal
import subprocess
import time
import unittest

from cluster import ROOT, Traffic, traces

CLUSTER = None

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: weft.dev/demo:v1
        args: [echo]
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
"""


class Journey(unittest.TestCase):
    @property
    def cluster(self):
        return CLUSTER

    def split_within(self, low, high, counts):
        total = sum(counts.values())
        self.assertEqual(set(counts) - {"v1", "v2"}, set(), f"some requests failed: {counts}")
        self.assertTrue(low <= counts["v1"] / total <= high, f"v1 got {counts['v1']} of {total}: {counts}")


class J1_Canary(Journey):
    def test_1_up_with_demo_shows_the_split(self):
        output = self.cluster.up("--demo").stdout
        self.assertIn("spiffe://cluster.local/ns/demo/sa/", output)
        self.assertIn("v1", output)
        self.split_within(0.87, 0.93, self.cluster.split(1000))

    def test_2_sidecars_injected_themselves(self):
        pods = self.cluster.objects("pods", "-n", "demo")["items"]
        self.assertGreaterEqual(len(pods), 3)
        for pod in pods:
            sidecars = [c for c in pod["spec"].get("initContainers", []) if c["name"] == "weft-proxy"]
            self.assertEqual([c.get("restartPolicy") for c in sidecars], ["Always"], pod["metadata"]["name"])
        with open(os.path.join(ROOT, "policies/examples/canary/frontend.yaml")) as file:
            self.assertNotIn("weft-proxy", file.read())

    def test_3_the_same_route_in_istio_words(self):
        self.cluster.kubectl("delete", "httproute", "catalog", "-n", "demo")
        self.cluster.meshctl("apply", "-f", "policies/examples/canary-istio")
        self.cluster.wait("the split by VirtualService", lambda: set(self.cluster.split(200)) == {"v1", "v2"}, 20)
        self.split_within(0.87, 0.93, self.cluster.split(1000))
        self.cluster.kubectl("delete", "virtualservice,destinationrule", "--all", "-n", "demo")
        self.cluster.meshctl("apply", "-f", "policies/examples/canary")
        self.cluster.wait("the split by HTTPRoute", lambda: set(self.cluster.split(200)) == {"v1", "v2"}, 20)

    def test_4_policy_says_programmed_and_proxies_are_synced(self):
        status = self.cluster.meshctl("proxy-status").stdout
        self.assertIn("SYNCED", status)
        self.assertNotIn("STALE", status)
        edges = self.cluster.meshctl("edges", "-n", "demo").stdout
        self.assertIn("frontend", edges)
        self.assertIn("spiffe://cluster.local/ns/demo/sa/", edges)
        stat = self.cluster.meshctl("stat", "-n", "demo").stdout
        self.assertIn("catalog-v1", stat)
        self.assertIn("100.00%", stat)

    def test_5_check_and_status_are_green(self):
        self.assertNotIn("✗", self.cluster.meshctl("check").stdout)
        self.assertIn("node-2", self.cluster.meshctl("status").stdout)


class J2_Kubectl(Journey):
    def test_apply_rollout_scale_logs_exec_describe_delete(self):
        kubectl = self.cluster.kubectl
        self.assertIn("created", kubectl("apply", "-f", "-", input=DEPLOYMENT).stdout)
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        self.assertIn("2/2", kubectl("get", "deployment", "web").stdout)
        kubectl("scale", "deployment/web", "--replicas=3")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        pods = self.cluster.objects("pods", "-l", "app=web")["items"]
        self.assertEqual(len([p for p in pods if p["status"]["phase"] == "Running"]), 3)
        name = pods[0]["metadata"]["name"]
        self.assertEqual(kubectl("exec", name, "--", "hostname").stdout.strip(), name)
        told = kubectl("exec", name, "--", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
        self.assertEqual((told.returncode, told.stdout), (3, "out\n"))
        self.assertIn("err", told.stderr)
        self.assertEqual(kubectl("exec", "-i", name, "--", "cat", input="through stdin").stdout, "through stdin")
        self.assertIn("listens on port 8080", kubectl("logs", name).stdout)
        described = kubectl("describe", "pod", name).stdout
        self.assertIn("weft.dev/demo:v1", described)
        self.assertIn("Started", described)
        changed = DEPLOYMENT.replace("args: [echo]", "args: [echo]\n        env: [{name: VERSION, value: v9}]")
        self.assertIn("configured", kubectl("apply", "-f", "-", input=changed).stdout)
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        self.assertIn("web", kubectl("get", "rs", "-l", "app=web").stdout)
        kubectl("delete", "deployment", "web")
        self.cluster.wait("the pods to go", lambda: not self.cluster.objects("pods", "-l", "app=web")["items"])

    def test_exit_code_of_exec_and_missing_names(self):
        result = self.cluster.kubectl("get", "pod", "nobody", check=False)
        self.assertIn('pods "nobody" not found', result.stderr)


class J3_DaemonKilled(Journey):
    def containers(self):
        return {
            (pod["metadata"]["namespace"], pod["metadata"]["name"], status["name"]): (status["containerID"], status["restartCount"])
            for pod in self.cluster.objects("pods", "-A")["items"]
            for status in pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
        }

    def test_no_request_fails_and_everything_is_adopted(self):
        before = self.containers()
        with Traffic(self.cluster) as traffic:
            self.cluster.wait("traffic", lambda: traffic.sent > 100)
            os.kill(self.cluster.daemon_pid(), signal.SIGKILL)
            sent = traffic.sent
            self.cluster.wait("traffic without the daemon", lambda: traffic.sent > sent + 500)
            self.cluster.up()
            sent = traffic.sent
            self.cluster.wait("traffic with the new daemon", lambda: traffic.sent > sent + 300)
            self.cluster.wait("nodes ready again", lambda: all(
                any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
                for node in self.cluster.objects("nodes")["items"]))
        self.assertEqual(traffic.failures, [], f"{len(traffic.failures)} of {traffic.sent} requests failed")
        self.assertEqual(self.containers(), before)


class J4_Wire(Journey):
    def test_tls_and_no_http_between_pods(self):
        capture = f"{self.cluster.state_directory}/between-pods.pcap"
        tcpdump = subprocess.Popen(
            ["nsenter", f"--net={self.cluster.node_namespace(1)}", "tcpdump", "-i", "any", "-U", "-s", "0", "-w", capture,
             "tcp and port 8080"], stderr=subprocess.PIPE, text=True)
        try:
            self.assertIn("listening", tcpdump.stderr.readline() + tcpdump.stderr.readline())
            self.split_within(0.80, 0.99, self.cluster.split(100))
            self.cluster.wait("packets", lambda: os.path.getsize(capture) > 20_000)
        finally:
            tcpdump.send_signal(signal.SIGINT)
            tcpdump.wait(10)
        with open(capture, "rb") as file:
            packets = file.read()
        self.assertIn(b"\x17\x03\x03", packets, "no TLS application data on the wire")
        for word in (b"HTTP/1.1", b"GET /", b"x-catalog-version", b"catalog"):
            self.assertNotIn(word, packets, "plain HTTP on the wire between pods")


class J5_BadInput(Journey):
    def refused(self, manifest, *words):
        path = f"{self.cluster.state_directory}/bad.yaml"
        with open(path, "w") as file:
            file.write(manifest)
        before = self.everything()
        result = self.cluster.meshctl("apply", "-f", path, check=False)
        self.assertNotEqual(result.returncode, 0, f"accepted:\n{manifest}")
        for word in ("bad.yaml", *words):
            self.assertIn(word, result.stderr)
        self.assertEqual(self.everything(), before)

    def everything(self):
        kinds = "deployments,services,configmaps,serviceaccounts,httproutes,virtualservices,destinationrules"
        return sorted((o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
                      for o in self.cluster.objects(kinds, "-A")["items"])

    def test_unknown_field(self):
        self.refused(DEPLOYMENT.replace("replicas: 2", "replicaz: 2"), "Deployment default/web", "spec.replicaz")

    def test_wrong_type(self):
        self.refused(DEPLOYMENT.replace("replicas: 2", "replicas: two"), "Deployment default/web", "spec.replicas")

    def test_bad_reference_in_a_volume(self):
        text = DEPLOYMENT.replace("ports:", "volumeMounts: [{name: nowhere, mountPath: /x}]\n        ports:")
        self.refused(text, "Deployment default/web", "nowhere")

    def test_bad_reference_in_a_route(self):
        self.refused(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: lost, namespace: demo}\n"
            "spec:\n  parentRefs: [{kind: Service, group: '', name: catalog}]\n"
            "  rules: [{backendRefs: [{name: no-such-service, port: 8080}]}]\n",
            "HTTPRoute demo/lost", "no-such-service")

    def test_one_bad_object_holds_back_the_good_ones(self):
        good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good, namespace: default}\ndata: {a: b}\n---\n"
        self.refused(good + DEPLOYMENT.replace("replicas: 2", "replicaz: 2"), "spec.replicaz")

    def test_syntax_error_names_the_line(self):
        self.refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x\n", "bad.yaml:")

    def test_kubectl_shows_the_field_too(self):
        result = self.cluster.kubectl("apply", "-f", "-", input=DEPLOYMENT.replace("replicas: 2", "replicaz: 2"), check=False)
        self.assertIn('unknown field "spec.replicaz"', result.stderr)


class J9_Down(Journey):
    def test_down_leaves_nothing(self):
        self.assertNotEqual(traces(self.cluster.name), [])
        self.cluster.meshctl("down")
        self.assertEqual(traces(self.cluster.name), [])
