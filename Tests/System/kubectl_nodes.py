"""kubectl's commands about nodes, and what goes on there."""

import json

from journeys import Journey

IMAGE = "weft.dev/demo:v1"

GUARDED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: guarded, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: guarded}}
  template:
    metadata: {labels: {app: guarded}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: weft.dev/demo:v1, args: [echo]}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: guarded, namespace: default}
spec: {minAvailable: 2, selector: {matchLabels: {app: guarded}}}
"""


class J2_KubectlNodes(Journey):
    def node(self, name="node-1"):
        return self.cluster.objects("node", name)

    def test_label_taint_cordon(self):
        kubectl = self.cluster.kubectl
        kubectl("label", "node", "node-2", "rack=r1")
        self.assertEqual(kubectl("get", "nodes", "-l", "rack=r1", "-o", "name").stdout, "node/node-2\n")
        kubectl("label", "node", "node-2", "rack-")
        self.assertEqual(kubectl("taint", "node", "node-2", "dedicated=db:NoSchedule").stdout, "node/node-2 tainted\n")
        self.assertEqual(self.node("node-2")["spec"]["taints"][0]["value"], "db")
        refused = kubectl("taint", "node", "node-2", "dedicated=web:NoSchedule", check=False)
        self.assertIn("already has dedicated taint(s)", refused.stderr)
        self.assertEqual(kubectl("taint", "node", "node-2", "dedicated:NoSchedule-").stdout, "node/node-2 untainted\n")
        self.assertEqual(kubectl("cordon", "node-2").stdout, "node/node-2 cordoned\n")
        try:
            self.assertIn("Ready,SchedulingDisabled", kubectl("get", "node", "node-2").stdout)
            kubectl("run", "elsewhere", f"--image={IMAGE}", "--", "echo")
            kubectl("wait", "pod/elsewhere", "--for=condition=Ready", "--timeout=60s")
            self.assertEqual(self.cluster.objects("pod", "elsewhere")["spec"]["nodeName"], "node-1")
        finally:
            self.assertEqual(kubectl("uncordon", "node-2").stdout, "node/node-2 uncordoned\n")
            kubectl("delete", "pod", "elsewhere", "--now", "--ignore-not-found")
        described = kubectl("describe", "node", "node-1").stdout
        for word in ("Capacity:", "Allocated resources:", "Non-terminated Pods:"):
            self.assertIn(word, described)
        self.assertIn("node-1", kubectl("get", "nodes", "-o", "wide").stdout)

    def test_drain_waits_for_the_budget(self):
        kubectl = self.cluster.kubectl
        kubectl("apply", "-f", "-", input=GUARDED)
        budget = lambda: self.cluster.objects("pdb", "guarded")["status"]  # noqa: E731
        try:
            kubectl("rollout", "status", "deployment/guarded", "--timeout=60s")
            self.cluster.wait("the budget to be counted", lambda: budget().get("currentHealthy") == 2)
            status = budget()
            self.assertEqual((status["desiredHealthy"], status["expectedPods"], status["disruptionsAllowed"]), (2, 2, 0))
            pod = self.cluster.objects("pods", "-l", "app=guarded")["items"][0]
            name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
            path = f"/api/v1/namespaces/default/pods/{name}/eviction"
            refused = kubectl("create", "--raw", path, "-f", "-", check=False, input=json.dumps(eviction))
            self.assertIn("violate the pod's disruption budget", refused.stderr)
            draining = self.cluster.start_kubectl(
                "drain", node, "--pod-selector=app=guarded", "--delete-emptydir-data", "--timeout=90s")
            lines = []
            while "will retry after 5s" not in (line := draining.stdout.readline()):
                lines.append(line)
                self.assertTrue(line, f"the drain ended before its time: {lines}")
            kubectl("patch", "pdb", "guarded", "--type=merge", "-p", '{"spec":{"minAvailable":1}}')
            rest = draining.communicate(timeout=90)[0]
            self.assertEqual(draining.returncode, 0, rest)
            self.assertIn(f"node/{node} drained", rest)
            gone = lambda: all(  # noqa: E731
                p["spec"].get("nodeName") != node for p in self.cluster.objects("pods", "-l", "app=guarded")["items"])
            self.cluster.wait("the pods to be elsewhere", gone)
        finally:
            kubectl("delete", "deployment,pdb", "guarded", "--wait=false")
            for name in ("node-1", "node-2"):
                kubectl("uncordon", name)

    def test_top(self):
        nodes = self.cluster.kubectl("top", "nodes").stdout
        self.assertRegex(nodes, r"node-1 +\d+m +\d+% +\d+Mi +\d+%")
        pods = self.cluster.kubectl("top", "pods", "-n", "demo", "--containers", "--sort-by=memory").stdout
        self.assertRegex(pods, r"frontend-\S+ +frontend +\d+m +\d+Mi")

    def test_node_proxy(self):
        def raw(path):
            return self.cluster.kubectl("get", "--raw", f"/api/v1/nodes/node-1/proxy/{path}").stdout
        self.assertEqual(raw("healthz"), "ok")
        pods = json.loads(raw("pods"))
        self.assertTrue(all(pod["spec"]["nodeName"] == "node-1" for pod in pods["items"]) and pods["items"])
        self.assertTrue(json.loads(raw("runningpods/"))["items"])
        summary = json.loads(raw("stats/summary"))
        self.assertEqual(summary["node"]["nodeName"], "node-1")
        self.assertGreater(summary["pods"][0]["memory"]["workingSetBytes"], 0)
        self.assertIn("kubelet_running_pods", raw("metrics"))
        self.assertIn('container_cpu_usage_seconds_total{container="', raw("metrics/resource"))
        self.assertEqual(json.loads(raw("configz"))["kubeletconfig"]["clusterDomain"], "cluster.local")
        name = pods["items"][0]["metadata"]["name"]
        self.assertIn(f"_{name}_", raw("logs/"))
        for path, code in (("nothing", "NotFound"), ("logs/..%2f..%2fmeshd.log", "NotFound")):
            refused = self.cluster.kubectl("get", "--raw", f"/api/v1/nodes/node-1/proxy/{path}", check=False)
            self.assertIn(code, refused.stderr)
        unknown = self.cluster.kubectl("get", "--raw", "/api/v1/nodes/node-9/proxy/healthz", check=False)
        self.assertIn('nodes "node-9" not found', unknown.stderr)

    def test_debug_of_a_node(self):
        kubectl = self.cluster.kubectl
        script = "ls /host/etc/hostname; ps; read typed; echo $typed"
        told = kubectl("debug", "node/node-1", "-i", "--quiet", f"--image={IMAGE}", "--", "sh", "-c", script, input="typed\n")
        try:
            # What it writes before the client is attached is in its log only.
            pod = next(
                p for p in self.cluster.objects("pods")["items"] if p["metadata"]["name"].startswith("node-debugger-node-1-"))
            self.cluster.wait("its end", lambda: self.phase(pod) == "Succeeded")
            said = kubectl("logs", pod["metadata"]["name"]).stdout
            self.assertIn("/host/etc/hostname\n", said)
            self.assertIn("meshd", said, "the machine's processes are seen")
            self.assertIn("typed\n", said)
            self.assertTrue(pod["spec"]["hostNetwork"] and pod["spec"]["hostPID"])
            self.assertEqual(told.returncode, 0)
        finally:
            kubectl("delete", "pods", "-l", "app.kubernetes.io/managed-by=kubectl-debug", "--now", "--ignore-not-found")

    def phase(self, pod):
        return self.cluster.objects("pod", pod["metadata"]["name"])["status"]["phase"]
