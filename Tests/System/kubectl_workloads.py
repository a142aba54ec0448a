"""kubectl's commands that make, change and scale workloads."""

import json
import re

from journeys import DEPLOYMENT, SpaceJourney

IMAGE = "weft.dev/demo:v1"


class J2_KubectlWorkloads(SpaceJourney):
    space = "workloads"

    def refused(self, *words):
        result = self.cluster.kubectl("-n", self.space, *words, check=False)
        self.assertNotEqual(result.returncode, 0, result.stdout)
        return result.stderr

    def objects(self, *words):
        return self.cluster.objects("-n", self.space, *words)

    def test_rollout_and_set(self):
        text = DEPLOYMENT.replace("namespace: default", f"namespace: {self.space}").replace("replicas: 2", "replicas: 1")
        self.out("apply", "-f", "-", input=text)
        self.out("annotate", "deployment/web", "kubernetes.io/change-cause=first")
        self.assertIn("successfully rolled out", self.out("rollout", "status", "deployment/web", "--timeout=60s"))
        self.assertIn("env updated", self.out("set", "env", "deployment/web", "VERSION=v7"))
        self.out("annotate", "deployment/web", "kubernetes.io/change-cause=second", "--overwrite")
        self.out("rollout", "status", "deployment/web", "--timeout=60s")
        self.cluster.wait(
            "both revisions with their causes",
            lambda: re.search(r"1 +first\n2 +second", self.out("rollout", "history", "deployment/web")))
        self.assertIn("VERSION:\tv7", self.out("rollout", "history", "deployment/web", "--revision=2"))
        self.assertIn("VERSION=v7", self.out("set", "env", "deployment/web", "--list"))
        self.assertIn("rolled back", self.out("rollout", "undo", "deployment/web"))
        self.assertNotIn("VERSION", self.out("set", "env", "deployment/web", "--list"))
        self.assertIn("paused", self.out("rollout", "pause", "deployment/web"))
        self.out("set", "resources", "deployment/web", "--limits=memory=64Mi")
        self.out("set", "image", "deployment/web", "web=weft.dev/demo:v2")
        self.assertIn("resumed", self.out("rollout", "resume", "deployment/web"))
        self.out("rollout", "status", "deployment/web", "--timeout=60s")
        pods = self.objects("pods", "-l", "app=web")["items"]
        container = next(p for p in pods if "deletionTimestamp" not in p["metadata"])["spec"]["containers"][0]
        self.assertEqual((container["image"], container["resources"]["limits"]), ("weft.dev/demo:v2", {"memory": "64Mi"}))
        self.out("create", "serviceaccount", "worker")
        self.out("set", "serviceaccount", "deployment/web", "worker")
        self.assertIn("restarted", self.out("rollout", "restart", "deployment/web"))
        self.out("rollout", "status", "deployment/web", "--timeout=60s")
        self.assertEqual(self.out("get", "deployment/web", "-o", "jsonpath={.spec.template.spec.serviceAccountName}"), "worker")
        self.out("scale", "deployment/web", "--replicas=2", "--current-replicas=1")
        self.assertIn("Expected replicas to be 1, was 2", self.refused("scale", "deployment/web", "--replicas=3", "--current-replicas=1"))
        self.out("expose", "deployment", "web", "--port=80", "--target-port=8080", "--name=front")
        self.out("set", "selector", "service/front", "app=web,extra=none")
        service = self.objects("service", "front")
        self.assertEqual(service["spec"]["selector"], {"app": "web", "extra": "none"})
        self.assertEqual(service["spec"]["ports"][0]["targetPort"], 8080)
        self.assertIn("front", self.out("describe", "service", "front"))
        self.out("delete", "deployment,service", "web", "front", "--ignore-not-found", "--wait=false")

    def test_run_and_create(self):
        self.out("run", "lone", f"--image={IMAGE}", "--labels=app=lone", "--port=8080", "--expose", "--env=A=b", "--", "echo")
        self.out("wait", "pod/lone", "--for=condition=Ready", "--timeout=60s")
        self.assertEqual(self.objects("service", "lone")["spec"]["selector"], {"app": "lone"})
        self.assertIn("A=b", self.out("exec", "lone", "--", "env"))
        self.assertIn("kind: Pod", self.out("run", "dry", f"--image={IMAGE}", "--dry-run=client", "-o", "yaml"))
        makes = {
            "deployment": ["d", f"--image={IMAGE}", "--replicas=0"], "secret": ["generic", "s", "--from-literal=k=v"],
            "role": ["r", "--verb=get", "--resource=pods"], "rolebinding": ["rb", "--role=r", "--user=kim"],
            "service": ["clusterip", "cs", "--tcp=80:8080"], "ingress": ["i", "--rule=host/path=cs:80"],
            "poddisruptionbudget": ["b", "--selector=app=x", "--min-available=1"],
            "cronjob": ["c", f"--image={IMAGE}", "--schedule=* * * * *"], "job": ["j", f"--image={IMAGE}"],
        }
        for kind, words in makes.items():
            self.assertIn("created", self.out("create", kind, *words), kind)
        secret = self.objects("secret", "s")
        self.assertEqual((secret["type"], secret["data"]), ("Opaque", {"k": "dg=="}))
        self.assertEqual(self.objects("pdb", "b")["spec"]["minAvailable"], 1)
        self.assertIn("No resources found", self.cluster.kubectl("get", "pods", "-n", "empty-space").stderr)
        everything = self.out("get", "all")
        for name in ("pod/lone", "service/cs", "deployment.apps/d", "cronjob.batch/c", "job.batch/j"):
            self.assertIn(name, everything)
        self.out("delete", "job,cronjob,ingress,deployment,pod,service", "--all", "--now")

    def test_autoscale_follows_what_pods_use(self):
        busy = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "busy"},
            "spec": {
                "replicas": 1, "selector": {"matchLabels": {"app": "busy"}},
                "template": {
                    "metadata": {"labels": {"app": "busy"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 0,
                        "containers": [{
                            "name": "app", "image": IMAGE, "command": ["sh", "-c", "while :; do :; done"],
                            "resources": {"requests": {"cpu": "5m"}, "limits": {"cpu": "50m"}}}]}}},
        }
        self.out("apply", "-f", "-", input=json.dumps(busy))
        self.out("rollout", "status", "deployment/busy", "--timeout=60s")
        self.cluster.wait("its use to be known", lambda: "busy" in self.out("top", "pod", "-l", "app=busy"))
        self.assertIn("autoscaled", self.out("autoscale", "deployment", "busy", "--min=1", "--max=3", "--cpu=50%"))
        scaled = lambda: self.objects("deployment", "busy")["spec"]["replicas"]  # noqa: E731
        self.cluster.wait("more copies", lambda: scaled() == 3, 60)
        self.cluster.wait("the autoscaler to say so", lambda: "SuccessfulRescale" in self.out("describe", "hpa", "busy"))
        status = self.objects("hpa", "busy")["status"]
        self.assertEqual(status["desiredReplicas"], 3)
        self.assertGreater(status["currentMetrics"][0]["resource"]["current"]["averageUtilization"], 50)
        conditions = {c["type"]: c["status"] for c in status["conditions"]}
        self.assertEqual((conditions["AbleToScale"], conditions["ScalingActive"]), ("True", "True"))
        self.assertRegex(self.out("get", "hpa", "busy"), r"Deployment/busy +cpu: \d+%/50% +1 +3")
        # The smallest number wins over what is used, and at once.
        self.out("patch", "hpa", "busy", "--type=merge", "-p", '{"spec":{"maxReplicas":1}}')
        self.cluster.wait("fewer copies", lambda: scaled() == 1)
        self.out("delete", "deployment,hpa", "busy", "--wait=false")

    def test_autoscale_writes_the_scale_of_any_kind(self):
        template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "app", "image": IMAGE}]}}
        spec = {"replicas": 1, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template}
        text = json.dumps({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec})
        self.out("apply", "-f", "-", input=text)
        self.assertIn("autoscaled", self.out("autoscale", "statefulset", "db", "--min=2", "--max=3", "--cpu=50%"))
        self.cluster.wait("the smallest number", lambda: self.objects("statefulset", "db")["spec"]["replicas"] == 2)
        self.cluster.wait("the autoscaler to say so", lambda: "SucceededRescale" in self.out("describe", "hpa", "db"))
        self.out("delete", "statefulset,hpa", "db")
