"""The journeys, in the order of their names; they share one cluster."""

import glob
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import unittest

from cluster import ROOT, Cluster, Traffic, traces

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
    @classmethod
    def shared(cls):
        return CLUSTER

    @property
    def cluster(self):
        return CLUSTER

    def split_within(self, low, high, counts):
        total = sum(counts.values())
        self.assertEqual(set(counts) - {"v1", "v2"}, set(), f"some requests failed: {counts}")
        self.assertTrue(low <= counts["v1"] / total <= high, f"v1 got {counts['v1']} of {total}: {counts}")


class SpaceJourney(Journey):
    """One that works in a namespace of its own, `space`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared().kubectl("create", "namespace", cls.space)

    @classmethod
    def tearDownClass(cls):
        cls.shared().kubectl("delete", "namespace", cls.space, "--wait=false")
        super().tearDownClass()

    def kubectl(self, *words, **more):
        return self.cluster.kubectl("-n", self.space, *words, **more)

    def out(self, *words, **more):
        return self.kubectl(*words, **more).stdout


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
        self.cluster.wait("the split by VirtualService", lambda: set(self.cluster.split(200)) == {"v1", "v2"})
        self.split_within(0.87, 0.93, self.cluster.split(1000))
        self.cluster.kubectl("delete", "virtualservice,destinationrule", "--all", "-n", "demo")
        self.cluster.meshctl("apply", "-f", "policies/examples/canary")
        self.cluster.wait("the split by HTTPRoute", lambda: set(self.cluster.split(200)) == {"v1", "v2"})

    def test_4_policy_says_programmed_and_proxies_are_synced(self):
        status = self.cluster.meshctl("proxy-status").stdout
        self.assertIn("SYNCED", status)
        self.assertNotIn("STALE", status)
        self.assertIn("weft-system/", status)
        self.assertNotIn("weft-system/", self.cluster.meshctl("proxy-status", "-n", "demo").stdout)
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
        self.ways_into(name)
        described = kubectl("describe", "pod", name).stdout
        self.assertIn("weft.dev/demo:v1", described)
        self.assertIn("Started", described)
        changed = DEPLOYMENT.replace("args: [echo]", "args: [echo]\n        env: [{name: VERSION, value: v9}]")
        self.assertIn("configured", kubectl("apply", "-f", "-", input=changed).stdout)
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        self.assertIn("web", kubectl("get", "rs", "-l", "app=web").stdout)
        kubectl("delete", "deployment", "web")
        self.cluster.wait("the pods to go", lambda: not self.cluster.objects("pods", "-l", "app=web")["items"])

    def ways_into(self, pod):
        """The proxy, port-forward and attach, to a running pod."""
        at_once = self.cluster.kubectl("get", "--raw", f"/api/v1/namespaces/default/pods/{pod}:8080/proxy/readyz")
        self.assertTrue(at_once.stdout)
        forward = self.cluster.start_kubectl("port-forward", pod, ":8080")
        attached = self.cluster.start_kubectl("attach", pod)
        try:
            port = int(re.search(r"127\.0\.0\.1:(\d+) -> 8080", forward.stdout.readline()).group(1))
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", port), 10) as line:
                    line.sendall(b"GET /readyz HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n")
                    self.assertTrue(line.recv(4096).startswith(b"HTTP/1.1 200"))
            # Attach shows what is written after it began, whenever that is.
            for _ in range(5):
                self.cluster.kubectl("exec", pod, "--", "sh", "-c", "echo out of the container > /proc/1/fd/1")
        finally:
            for process in (forward, attached):
                process.terminate()
                process.wait(60)
        self.assertIn("out of the container", attached.stdout.read())

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


class J3_Rollouts(Journey):
    """What a user changes while requests come in costs none of them."""

    def rollout(self, name):
        self.cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", "demo", "--timeout=60s")

    def scale(self, name, count):
        self.cluster.kubectl("scale", f"deployment/{name}", f"--replicas={count}", "-n", "demo")
        self.settle()

    def settle(self):
        """Every deployment as it is wanted, and not a pod more."""
        def settled():
            deployments = self.cluster.objects("deployments", "-n", "demo")["items"]
            for deployment in deployments:
                status, wanted = deployment["status"], deployment["spec"]["replicas"]
                if status.get("observedGeneration") != deployment["metadata"]["generation"]:
                    return False
                if any(status.get(key, 0) != wanted for key in ("replicas", "updatedReplicas", "readyReplicas")):
                    return False
            pods = self.cluster.objects("pods", "-n", "demo")["items"]
            return len(pods) == sum(deployment["spec"]["replicas"] for deployment in deployments)

        self.cluster.wait("all deployments to settle", settled)

    def restarts(self):
        return [f"{pod['metadata']['name']}/{status['name']}: {status['restartCount']} {status.get('lastState')}"
                for pod in self.cluster.objects("pods", "-n", "demo")["items"]
                for status in pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
                if status["restartCount"]]

    def test_1_no_request_fails_while_pods_come_and_go(self):
        with Traffic(self.cluster, threads=6, pause=0.002) as traffic:
            for name in ("catalog-v1", "frontend"):
                self.cluster.kubectl("rollout", "restart", f"deployment/{name}", "-n", "demo")
                self.rollout(name)
            for name, count in (("frontend", 2), ("catalog-v1", 1), ("frontend", 1), ("catalog-v1", 2)):
                self.scale(name, count)
        self.assertEqual(traffic.failures, [], f"{len(traffic.failures)} of {traffic.sent} requests failed")
        self.assertEqual(self.restarts(), [])

    def test_2_nor_when_the_daemon_is_killed_again_and_again_meanwhile(self):
        chance = random.Random(7)
        with Traffic(self.cluster, pause=0.004) as traffic:
            for round in range(8):
                name = ("catalog-v1", "frontend", "catalog-v2")[round % 3]
                self.cluster.kubectl("rollout", "restart", f"deployment/{name}", "-n", "demo")
                self.cluster.kubectl("scale", "deployment/catalog-v1", f"--replicas={1 + round % 3}", "-n", "demo")
                time.sleep(chance.random() * 1.5)
                os.kill(self.cluster.daemon_pid(), signal.SIGKILL)
                time.sleep(chance.random() * 0.5)
                self.cluster.up()
            self.scale("catalog-v1", 2)
        self.assertEqual(traffic.failures, [], f"{len(traffic.failures)} of {traffic.sent} requests failed")
        self.assertEqual(self.restarts(), [], "restarted though nobody asked")
        self.assertEqual(self.leftovers(), [], "of pods that are gone")

    def leftovers(self):
        """Mounts, cgroups, namespaces and folders of pods the API does not have."""
        known = {pod["metadata"]["uid"] for pod in self.cluster.objects("pods", "-A")["items"]}
        name = self.cluster.name
        found = os.listdir(f"{self.cluster.run_directory}/netns")
        found += glob.glob(f"{self.cluster.run_directory}/nodes/*/pods/*") + glob.glob(f"{self.cluster.state_directory}/nodes/*/pods/*")
        found += [base for base, _, _ in os.walk("/sys/fs/cgroup") if f"weft/{name}/" in base]
        with open("/proc/self/mounts") as mounts:
            found += [line.split()[1] for line in mounts if f"weft/{name}/" in line]
        return [place for place in found if set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", place)) - known]


class J3_Crashes(Journey):
    """Processes of a pod that are killed come back, and status says what happened."""

    def pod(self, version):
        return self.cluster.objects("pods", "-n", "demo", "-l", f"app=catalog,version={version}")["items"][0]

    def process(self, pod, word):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cgroup") as groups, open(f"/proc/{pid}/cmdline") as command:
                    if pod["metadata"]["uid"] in groups.read() and word in command.read().replace("\0", " "):
                        return int(pid)
            except OSError:
                continue
        raise AssertionError(f"no process '{word}' in {pod['metadata']['name']}")

    def statuses(self, name):
        status = self.cluster.objects("pod", name, "-n", "demo")["status"]
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
        return ready, {c["name"]: c for c in status.get("initContainerStatuses", []) + status["containerStatuses"]}

    def back(self, name, counts):
        ready, statuses = self.statuses(name)
        return ready and statuses if {k: v["restartCount"] for k, v in statuses.items()} == counts else None

    def test_killed_processes_come_back_and_are_counted(self):
        pod = self.pod("v1")
        name = pod["metadata"]["name"]
        with Traffic(self.cluster) as traffic:
            os.kill(self.process(pod, "meshproxy sidecar"), signal.SIGKILL)
            statuses = self.cluster.wait("the sidecar", lambda: self.back(name, {"weft-proxy": 1, "catalog": 0}))
            self.assertEqual(statuses["weft-proxy"]["lastState"]["terminated"]["exitCode"], 137)
            os.kill(self.process(pod, "demo-service"), signal.SIGKILL)
            statuses = self.cluster.wait("the app", lambda: self.back(name, {"weft-proxy": 1, "catalog": 1}))
            self.assertEqual(statuses["catalog"]["lastState"]["terminated"]["exitCode"], 137)
            os.kill(self.process(pod, "mesh-init"), signal.SIGKILL)
            statuses = self.cluster.wait("the pod", lambda: self.back(name, {"weft-proxy": 2, "catalog": 2}))
            self.assertEqual(statuses["weft-proxy"]["lastState"]["terminated"]["exitCode"], 137)
        # Three requests at most were with a process when it was killed, each thread's one.
        self.assertLessEqual(len(traffic.failures), 12, traffic.failures[:3])
        self.assertIn("SandboxChanged", self.cluster.kubectl("describe", "pod", name, "-n", "demo").stdout)


class J3_Upgrade(Journey):
    """Another proxy program in running pods, in place."""

    def pods(self, *words):
        """Of each pod: its containers' numbers and restarts, which an upgrade leaves as they are."""
        return {pod["metadata"]["name"]: [(s["name"], s["containerID"], s["restartCount"])
                                          for s in pod["status"]["initContainerStatuses"] + pod["status"]["containerStatuses"]]
                for pod in self.cluster.objects("pods", "-n", "demo", *words)["items"]}

    def proxies(self, word="sidecar"):
        """Numbers of the processes that serve as sidecars."""
        found = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cgroup") as groups, open(f"/proc/{pid}/cmdline") as command:
                    words = command.read().split("\0")
                    if f"weft/{self.cluster.name}/" in groups.read() and words[0].endswith("/meshproxy") and words[1] == word:
                        found.add(pid)
            except (OSError, IndexError):
                continue
        return found

    def test_1_every_proxy_of_the_namespace_under_load(self):
        before, old = self.pods(), self.proxies()
        with Traffic(self.cluster, threads=6, pause=0.002) as traffic:
            self.cluster.wait("traffic", lambda: traffic.sent > 100)
            told = self.cluster.meshctl("upgrade-proxy", "-n", "demo").stdout
            for name in before:
                self.assertIn(f"demo/{name}", told)
            gateway = json.loads(self.cluster.meshctl("upgrade-proxy", "deploy/weft-ingress", "-n", "weft-system", "-o", "json").stdout)
            self.assertEqual([item["upgraded"] for item in gateway["items"]], [True])
            sent = traffic.sent
            self.cluster.wait("traffic through the new proxies", lambda: traffic.sent > sent + 300)
        self.assertEqual(traffic.failures, [], f"{len(traffic.failures)} of {traffic.sent} requests failed")
        self.assertEqual(self.pods(), before)
        # The old ones may still have connections on which nothing is asked.
        self.assertEqual(len(self.proxies() - old), len(before))
        self.cluster.wait("the proxies to be told again", lambda: "STALE" not in self.cluster.meshctl("proxy-status").stdout)

    def test_2_a_program_that_does_not_start_changes_nothing(self):
        before, old = self.pods(), self.proxies()
        bad = f"{self.cluster.state_directory}/bad-program"
        shutil.copy("/bin/false", bad)
        with Traffic(self.cluster) as traffic:
            result = self.cluster.meshctl("upgrade-proxy", "deploy/frontend", "-n", "demo", "--program", bad, check=False)
            self.assertNotEqual(result.returncode, 0)
            self.assertEqual((result.stdout + result.stderr).count("the proxy before goes on"), 1)
        self.assertEqual(traffic.failures, [])
        self.assertEqual((self.pods(), self.proxies()), (before, old))
        result = self.cluster.meshctl("upgrade-proxy", "deploy/nobody", "-n", "demo", check=False)
        self.assertIn("deploy/nobody", result.stderr)

    def test_3_by_kubectl(self):
        name = next(iter(self.pods("-l", "app=frontend")))
        before = self.pods()
        program = os.path.join(self.cluster.programs, "meshproxy")
        with Traffic(self.cluster) as traffic, open(program, "rb") as file:
            told = self.cluster.kubectl_from(file, "exec", "-i", "-n", "demo", name, "-c", "weft-proxy", "--",
                                             "meshproxy", "upgrade", "--program", "-")
        self.assertIn("ready ", told)
        self.assertEqual(traffic.failures, [])
        self.assertEqual(self.pods(), before)


class J3_Explain(Journey):
    """Requests that fail for known reasons: what `explain` and `tap` say of each."""

    LAB = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lab, namespace: demo}
spec:
  hosts: [lab]
  http:
  - match: [{uri: {prefix: /broken}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: lab}}]
  - match: [{uri: {prefix: /items}}]
    route: [{destination: {host: lab}}]
---
apiVersion: v1
kind: Service
metadata: {name: lab, namespace: demo}
spec: {selector: {app: catalog}, ports: [{port: 8080, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: refused, namespace: demo}
spec: {selector: {app: catalog}, ports: [{port: 80, targetPort: 9999, name: http}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: demo}
spec:
  selector: {matchLabels: {app: catalog}}
  action: DENY
  rules: [{to: [{operation: {paths: ["/admin*"]}}]}]
"""

    def ask(self, url):
        return self.cluster.kubectl("exec", "-n", "demo", "deploy/frontend", "-c", "frontend", "--", "demo-service", "get", url,
                                    check=False)

    def explained(self, url, reason, *words):
        """The newest failure is this one, and it is told with its cause."""
        self.cluster.wait(reason, lambda: reason in self.ask(url).stderr + self.ask(url).stdout, 20)
        told = self.cluster.meshctl("explain", "--failed", "-n", "demo").stdout
        for word in (reason, "likely cause:", *words):
            self.assertIn(word, told)
        return told

    def test_each_cause_is_named(self):
        path = f"{self.cluster.state_directory}/lab.yaml"
        with open(path, "w") as file:
            file.write(self.LAB)
        self.cluster.meshctl("apply", "-f", path)
        self.explained("http://lab:8080/broken", "fault_abort", "418 FI", "VirtualService demo/lab", "on purpose", "frontend-")
        self.explained("http://lab:8080/elsewhere", "no_route", "404 NR", "its host, path, method or headers fit no rule")
        told = self.explained("http://refused/x", "connect_failure", "503 UF", "attempt 3:", ":9999", "does not listen on", "inbound")
        self.assertGreaterEqual(told.count("attempt "), 4)
        told = self.explained("http://catalog:8080/admin/x", "rbac_denied", "403 RBAC", "policy demo/no-admin",
                              "AuthorizationPolicy demo/no-admin denies it", "inbound", "outbound", "HTTPRoute demo/catalog")
        self.assertIn("attempt 1:", told)
        tap = subprocess.Popen([os.path.join(self.cluster.programs, "meshctl"), "tap", "--cluster", self.cluster.name, "-n", "demo",
                                "--failed", "--path", "/admin", "--limit", "2", "--seconds", "20"],
                               stdout=subprocess.PIPE, text=True, cwd=ROOT)
        while tap.poll() is None:
            self.ask("http://catalog:8080/admin/tapped")
        seen = tap.stdout.read()
        self.assertIn("outbound frontend -> catalog", seen)
        self.assertIn("inbound frontend -> catalog", seen)
        self.assertEqual(seen.count("rbac_denied"), 2, seen)
        self.cluster.kubectl("delete", "-f", path)


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
            tcpdump.wait(60)
        with open(capture, "rb") as file:
            packets = file.read()
        self.assertIn(b"\x17\x03\x03", packets, "no TLS application data on the wire")
        for word in (b"HTTP/1.1", b"GET /", b"x-catalog-version", b"catalog"):
            self.assertNotIn(word, packets, "plain HTTP on the wire between pods")


    def test_plain_text_is_accepted_until_a_policy_is_strict(self):
        kubectl = self.cluster.kubectl
        kubectl("run", "outsider", "--image=weft.dev/demo:v1", "--", "echo")
        kubectl("wait", "--for=condition=Ready", "pod/outsider", "--timeout=60s")
        ask = ("exec", "outsider", "--", "demo-service", "get", "http://catalog.demo:8080/items")
        self.assertIn("catalog", kubectl(*ask).stdout)
        self.cluster.meshctl("apply", "-f", "policies/examples/strict-mtls")
        self.cluster.wait("plain text to be refused", lambda: kubectl(*ask, check=False).returncode != 0, 20)
        self.split_within(0.80, 0.99, self.cluster.split(100))
        kubectl("delete", "-f", "policies/examples/strict-mtls")
        self.cluster.wait("plain text to be accepted again", lambda: "catalog" in kubectl(*ask, check=False).stdout, 20)
        kubectl("delete", "pod", "outsider")


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

    def test_all_refusals_are_told_at_once(self):
        wrong = DEPLOYMENT.replace("replicas: 2", "replicaz: 2")
        unknown = "---\napiVersion: v1\nkind: Confmap\nmetadata: {name: x}\n"
        broken = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: X}\n"
        self.refused(wrong + unknown + broken, "spec.replicaz", "no kind Confmap", "ConfigMap default/X", "3 refusals for 3 objects")

    def test_syntax_error_names_the_line(self):
        self.refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x\n", "bad.yaml:")

    def test_kubectl_shows_the_field_too(self):
        result = self.cluster.kubectl("apply", "-f", "-", input=DEPLOYMENT.replace("replicas: 2", "replicaz: 2"), check=False)
        self.assertIn('unknown field "spec.replicaz"', result.stderr)


class J6_GlobalLimit(Journey):
    def limit(self, **words):
        limit = json.dumps({"rateLimits": [{"perMilliseconds": 86_400_000, "global": True, **words}]})
        self.cluster.kubectl("annotate", "-n", "demo", "--overwrite", "httproute/catalog", f"weft.dev/resilience={limit}")

    def test_all_proxies_share_one_budget(self):
        kubectl = self.cluster.kubectl
        kubectl("scale", "-n", "demo", "deploy/frontend", "--replicas=3")
        kubectl("rollout", "status", "-n", "demo", "deploy/frontend", "--timeout=60s")

        def passed():
            counts = self.cluster.split(60)
            return counts["v1"] + counts["v2"]

        # Nothing passes, so that no request is counted before the limit is in force.
        self.limit(name="nothing", requests=0)
        self.cluster.wait("the limit of nothing", lambda: passed() == 0, 30)
        self.limit(name="orders", requests=40)
        total = 0
        for _ in range(100):
            some = passed()
            total += some
            if total and not some:
                break
        self.assertGreater(total, 0)
        # What each of the three may admit ahead is taken off again, but may be seen for a moment.
        self.assertLessEqual(total, 40 + 3 * 4)
        kubectl("annotate", "-n", "demo", "httproute/catalog", "weft.dev/resilience-")
        kubectl("scale", "-n", "demo", "deploy/frontend", "--replicas=1")
        kubectl("rollout", "status", "-n", "demo", "deploy/frontend", "--timeout=60s")
        self.cluster.wait("no limit", lambda: passed() == 60, 30)


class J6_TLSRoutes(Journey):
    """TLS chosen by server name at a gateway, asked by openssl and curl from a node."""

    NAMES = ("sealed.shop.test", "frontend.shop.test")

    def on_node(self, *words, input=None):
        command = ["nsenter", f"--net={self.cluster.node_namespace(1)}", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, input=input)

    def gateway_address(self):
        pods = self.cluster.objects("pods", "-n", "weft-system", "-l", "weft.dev/gateway=weft-ingress")["items"]
        return pods[0]["status"]["podIP"]

    def fetched(self, name, certificate, address):
        words = ("curl", "-sS", "--max-time", "10", "--cacert", certificate, "--resolve", f"{name}:8443:{address}",
                 "-o", "/dev/null", "-w", "%{http_code}", f"https://{name}:8443/")
        answer = self.on_node(*words)
        return answer.stdout or answer.stderr

    def shake(self, name, address):
        """What openssl says of a handshake by this name."""
        answer = self.on_node("openssl", "s_client", "-connect", f"{address}:8443", "-servername", name, "-alpn", "http/1.1",
                              input="")
        return answer.stdout + answer.stderr

    def test_passed_on_ended_and_refused_by_name(self):
        kubectl, directory = self.cluster.kubectl, self.cluster.state_directory
        key, certificate = f"{directory}/shop.key", f"{directory}/shop.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                        "-out", certificate, "-days", "2", "-subj", "/CN=shop", "-addext",
                        "subjectAltName=" + ",".join(f"DNS:{name}" for name in self.NAMES)], check=True, capture_output=True)
        kubectl("-n", "weft-system", "create", "secret", "tls", "shop", f"--cert={certificate}", f"--key={key}")
        self.cluster.meshctl("apply", "-f", "policies/examples/tls-routes")
        address = self.gateway_address()
        for name in self.NAMES:
            self.cluster.wait(name, lambda name=name: self.fetched(name, certificate, address) == "200", 30)
            self.assertIn("subject=CN = shop", self.shake(name, address))
        # No route has the name: an alert, and no certificate is shown.
        stranger = self.shake("other.example.test", address)
        self.assertIn("no peer certificate available", stranger)
        for route in self.cluster.objects("tlsroutes", "-A")["items"]:
            conditions = {c["type"]: c["status"] for c in route["status"]["parents"][0]["conditions"]}
            self.assertEqual(conditions.get("Accepted"), "True", route["status"])
            self.assertEqual(conditions.get("ResolvedRefs"), "True", route["status"])
        # The route goes, and with it the way on; the other stays.
        kubectl("-n", "demo", "delete", "tlsroute", "frontend")
        self.cluster.wait("the route's end", lambda: self.fetched("frontend.shop.test", certificate, address) != "200", 30)
        self.assertEqual(self.fetched("sealed.shop.test", certificate, address), "200")
        kubectl("delete", "-f", "policies/examples/tls-routes", "--ignore-not-found")
        kubectl("-n", "weft-system", "delete", "secret", "shop")


class J8_Starts(Journey):
    """Starting and ending, twice at once, in the middle of each other, with damage: on a cluster of its own."""

    def setUp(self):
        self.second = Cluster(self.cluster.programs, nodes=1)

    def tearDown(self):
        self.second.down()
        self.assertEqual([t for t in traces(self.second.name) if self.second.name in t], [])

    def at_once(self, *commands):
        running = [subprocess.Popen([os.path.join(self.second.programs, "meshctl"), words[0], "--cluster", self.second.name, *words[1:]],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) for words in commands]
        for process in running:
            output, _ = process.communicate(timeout=90)
            self.assertEqual(process.returncode, 0, output)

    def test_1_twice_at_once(self):
        up = ("up", "--api-port", str(self.second.api_port), "--gateway-port", str(self.second.gateway_port))
        self.at_once(up, up, up)
        self.assertIn("weft-ingress", self.second.kubectl("get", "pods", "-n", "weft-system").stdout)
        self.at_once(("down",), ("down",), ("down",))

    def test_2_killed_while_it_starts_and_started_with_the_ports_of_before(self):
        for pause in (0.05, 0.2):
            start = subprocess.Popen([os.path.join(self.second.programs, "meshctl"), "up", "--cluster", self.second.name,
                                      "--api-port", str(self.second.api_port), "--gateway-port", str(self.second.gateway_port)],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
            self.second.wait("the daemon", self.second.daemon_pid)
            time.sleep(pause)
            os.kill(self.second.daemon_pid(), signal.SIGKILL)
            start.wait(120)
            self.second.meshctl("up")
            self.assertIn(f"127.0.0.1:{self.second.api_port}", self.second.kubectl("cluster-info").stdout)
            self.assertEqual(len(self.second.objects("pods", "-n", "weft-system")["items"]), 1)
            self.second.meshctl("down")

    def test_3_a_taken_port_and_a_damaged_file_are_named(self):
        for port, option in ((self.second.api_port, "--api-port"), (self.second.gateway_port, "--gateway-port")):
            with socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(("127.0.0.1", port))
                taken.listen()
                result = self.second.meshctl("up", "--api-port", str(self.second.api_port), "--gateway-port",
                                             str(self.second.gateway_port), check=False)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(f"127.0.0.1:{port} is taken", result.stderr)
                self.assertIn(option, result.stderr)
        with open(f"{self.second.state_directory}/cluster.json", "w") as file:
            file.write('{"nodes": ')
        result = self.second.meshctl("up", check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("cluster.json", result.stderr)
        self.second.meshctl("down")


class J9_Down(Journey):
    def test_down_leaves_nothing(self):
        self.assertNotEqual(traces(self.cluster.name), [])
        self.cluster.meshctl("down")
        self.assertEqual(traces(self.cluster.name), [])
