"""kubectl's commands that read and write objects."""

import json
import re

from journeys import SpaceJourney

SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {part: one, tier: a}}
data: {first: "1", second: "2"}
"""


class J2_KubectlObjects(SpaceJourney):
    space = "objects"

    def value(self, path, *words):
        return self.out("get", *words, "-o", "jsonpath={%s}" % path)

    def test_get_in_every_form(self):
        for number, tier in ((3, "a"), (1, "b"), (2, "a")):
            self.out("create", "configmap", f"item-{number}", f"--from-literal=number={number}")
            self.out("label", "configmap", f"item-{number}", f"tier={tier}", f"order={9 - number}")
        chosen = ("get", "configmaps", "-l", "order")
        self.assertEqual(re.findall(r"item-\d", self.out(*chosen, "--sort-by=.metadata.labels.order")), ["item-3", "item-2", "item-1"])
        self.assertEqual(self.out(*chosen, "-o", "name").split(), [f"configmap/item-{n}" for n in (1, 2, 3)])
        self.assertEqual(
            self.out(*chosen, "-o", "custom-columns=N:.metadata.name,V:.data.number", "--no-headers").split(),
            ["item-1", "1", "item-2", "2", "item-3", "3"])
        self.assertEqual(self.out(*chosen, "-o", "jsonpath={.items[*].data.number}"), "1 2 3")
        self.assertEqual(self.out(*chosen, "-o", "go-template={{range .items}}{{.data.number}};{{end}}"), "1;2;3;")
        self.assertEqual(len(json.loads(self.out(*chosen, "-o", "json"))["items"]), 3)
        self.assertIn("number: \"2\"", self.out("get", "configmap", "item-2", "-o", "yaml"))
        table = self.out(*chosen, "-L", "tier", "--show-labels").splitlines()
        self.assertEqual(table[0].split(), ["NAME", "DATA", "AGE", "TIER", "LABELS"])
        self.assertIn("order=8,tier=b", table[1])
        self.assertEqual(self.out("get", "cm", "-l", "tier in (b),order", "-o", "name"), "configmap/item-1\n")
        self.assertEqual(self.out("get", "cm", "--field-selector=metadata.name=item-3", "-o", "name"), "configmap/item-3\n")
        self.assertIn("NODE", self.cluster.kubectl("get", "pods", "-A", "-o", "wide").stdout)
        self.assertIn("serviceaccount/default", self.out("get", "cm,secrets,sa", "-o", "name"))
        missing = self.kubectl("get", "configmap", "nobody", check=False)
        self.assertEqual((missing.returncode, missing.stderr), (1, 'Error from server (NotFound): configmaps "nobody" not found\n'))
        unknown = self.kubectl("get", "nothings", check=False)
        self.assertIn('the server doesn\'t have a resource type "nothings"', unknown.stderr)

    def test_apply_in_the_client(self):
        self.assertEqual(self.out("apply", "-f", "-", input=SETTINGS), "configmap/settings created\n")
        self.assertEqual(self.out("apply", "-f", "-", input=SETTINGS), "configmap/settings unchanged\n")
        changed = SETTINGS.replace(', second: "2"', ', third: "3"')
        shown = self.kubectl("diff", "-f", "-", check=False, input=changed)
        self.assertEqual(shown.returncode, 1, shown.stderr)
        self.assertIn('-  second: "2"', shown.stdout)
        self.assertIn('+  third: "3"', shown.stdout)
        self.assertEqual(self.out("apply", "-f", "-", "--dry-run=server", input=changed), "configmap/settings configured (server dry run)\n")
        self.assertEqual(self.value(".data.second", "cm", "settings"), "2")
        self.out("apply", "-f", "-", input=changed)
        self.assertEqual(self.value(".data", "cm", "settings"), '{"first":"1","third":"3"}')
        self.assertEqual(self.kubectl("diff", "-f", "-", input=changed).stdout, "")
        self.assertIn("third", self.out("apply", "view-last-applied", "cm/settings"))
        self.out("apply", "set-last-applied", "-f", "-", input=SETTINGS.replace(', second: "2"', ''))
        self.assertNotIn("third", self.out("apply", "view-last-applied", "cm/settings"))
        self.out("create", "cm", "stray", "--from-literal=a=b")
        self.out("label", "cm", "stray", "part=one")
        kept = self.out("apply", "-f", "-", "--prune", "-l", "part=one", "--prune-allowlist=core/v1/ConfigMap", input=changed)
        self.assertNotIn("stray", kept, "what was never applied is not pruned")
        self.out("delete", "cm", "settings", "stray")

    def test_apply_in_the_server(self):
        text = SETTINGS.replace("settings", "served")
        self.assertEqual(self.out("apply", "--server-side", "-f", "-", input=text), "configmap/served serverside-applied\n")
        other = text.replace('"1"', '"11"')
        refused = self.kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", check=False, input=other)
        self.assertIn('conflict with "kubectl": .data.first', refused.stderr)
        self.out("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", input=other)
        managers = self.out("get", "cm", "served", "-o", "yaml", "--show-managed-fields")
        self.assertIn("manager: other", managers)
        self.assertIn("manager: kubectl", managers)

    def test_create_replace_edit_patch(self):
        text = SETTINGS.replace("settings", "worked")
        self.assertEqual(self.out("create", "-f", "-", "--save-config", input=text), "configmap/worked created\n")
        again = self.kubectl("create", "-f", "-", check=False, input=text)
        self.assertIn('configmaps "worked" already exists', again.stderr)
        self.assertEqual(self.out("replace", "-f", "-", input=text.replace('"1"', '"5"')), "configmap/worked replaced\n")
        self.assertEqual(self.value(".data.first", "cm", "worked"), "5")
        before = self.value(".metadata.uid", "cm", "worked")
        self.out("replace", "--force", "-f", "-", input=text)
        self.assertNotEqual(self.value(".metadata.uid", "cm", "worked"), before)
        self.out("patch", "cm", "worked", "--type=merge", "-p", '{"data":{"second":null,"new":"n"}}')
        self.out("patch", "cm", "worked", "--type=json", "-p", '[{"op":"replace","path":"/data/new","value":"m"}]')
        self.out("patch", "cm", "worked", "-p", '{"metadata":{"labels":{"tier":"z"}}}')
        self.assertEqual(self.value(".data", "cm", "worked"), '{"first":"1","new":"m"}')
        self.assertEqual(self.value(".metadata.labels", "cm", "worked"), '{"part":"one","tier":"z"}')
        folder = self.cluster.scratch("edit")
        with open(f"{folder}/editor", "w") as file:
            file.write("#!/bin/sh\nsed -i 's/new: m/new: edited/' \"$1\"\n")
        _, environment = self.cluster.kubectl_command()
        environment["KUBE_EDITOR"] = f"sh {folder}/editor"
        self.assertEqual(
            self.cluster.run_kubectl(["-n", self.space, "edit", "cm", "worked"], 60, environment=environment).stdout.decode(),
            "configmap/worked edited\n")
        self.assertEqual(self.value(".data.new", "cm", "worked"), "edited")
        bad = self.kubectl("patch", "cm", "worked", "-p", '{"data":{"a b":"c"}}', check=False)
        self.assertIn("data[a b]: Invalid value", bad.stderr)

    def test_label_annotate_wait_delete(self):
        self.out("create", "cm", "marked", "--from-literal=a=b")
        self.assertEqual(self.out("label", "cm", "marked", "one=1"), "configmap/marked labeled\n")
        refused = self.kubectl("label", "cm", "marked", "one=2", check=False)
        self.assertIn("--overwrite", refused.stderr)
        self.out("label", "cm", "marked", "one=2", "--overwrite")
        self.assertEqual(self.out("label", "cm", "marked", "--list"), "one=2\n")
        self.out("annotate", "cm", "marked", "note=said once")
        self.assertEqual(self.value(".metadata.annotations.note", "cm", "marked"), "said once")
        self.out("annotate", "cm", "marked", "note-")
        self.out("label", "cm", "marked", "one-")
        self.assertNotIn("one", self.value(".metadata.labels", "cm", "marked"))
        self.assertIn("condition met", self.out("wait", "cm/marked", "--for=jsonpath={.data.a}=b", "--timeout=60s"))
        waiting = self.cluster.start_kubectl("-n", self.space, "wait", "cm/marked", "--for=delete", "--timeout=60s")
        self.assertEqual(self.out("delete", "cm", "marked"), 'configmap "marked" deleted from %s namespace\n' % self.space)
        self.assertEqual(waiting.wait(60), 0, waiting.stdout.read())
        waiting.stdout.close()
        late = self.kubectl("wait", "cm/never", "--for=create", "--timeout=1s", check=False)
        self.assertNotEqual(late.returncode, 0)

    def test_watch_and_events(self):
        watching = self.cluster.start_kubectl(
            "-n", self.space, "get", "cm", "-w", "--output-watch-events", "--field-selector=metadata.name=seen", "-o",
            "jsonpath={.type}:{.object.data.a}{'\\n'}", "--request-timeout=60s")
        try:
            self.out("create", "cm", "seen", "--from-literal=a=b")
            self.out("patch", "cm", "seen", "-p", '{"data":{"a":"c"}}')
            self.out("delete", "cm", "seen")
            self.assertEqual([watching.stdout.readline() for _ in range(3)], ["ADDED:b\n", "MODIFIED:c\n", "DELETED:c\n"])
        finally:
            watching.terminate()
            watching.wait(60)
            watching.stdout.close()
        self.out("run", "eventful", "--image=weft.dev/demo:v1", "--restart=Never", "--command", "--", "true")
        self.cluster.wait("its events", lambda: "Started" in self.out("events", "--for", "pod/eventful"))
        self.assertIn("Scheduled", self.out("get", "events", "--field-selector=involvedObject.name=eventful"))
        self.assertIn("pod/eventful", self.out("get", "events.events.k8s.io"))

    def test_explain(self):
        text = self.out("explain", "pod.spec.containers.resizePolicy")
        self.assertIn("FIELD: resizePolicy <[]ContainerResizePolicy>", text)
        self.assertIn("VERSION:    v2", self.out("explain", "hpa", "--api-version=autoscaling/v2"))
        whole = self.out("explain", "poddisruptionbudget", "--recursive")
        self.assertIn("unhealthyPodEvictionPolicy", whole)
        wrong = self.kubectl("explain", "pod.spec.nothing", check=False)
        self.assertIn("field \"nothing\" does not exist", wrong.stderr)

    def test_kustomize(self):
        folder = self.cluster.scratch("kustomize")
        with open(f"{folder}/base.yaml", "w") as file:
            file.write(SETTINGS.replace("settings", "based"))
        with open(f"{folder}/kustomization.yaml", "w") as file:
            file.write("resources: [base.yaml]\nnamePrefix: my-\nconfigMapGenerator:\n- name: made\n  literals: [x=y]\n")
        self.assertIn("name: my-based", self.out("kustomize", folder))
        applied = self.out("apply", "-k", folder)
        self.assertIn("configmap/my-based created", applied)
        self.assertRegex(applied, r"configmap/my-made-\w+ created")
        self.assertIn("my-based", self.out("delete", "-k", folder))

    def test_columns_of_quotas_and_fairness(self):
        self.out("create", "quota", "small", "--hard=configmaps=20,limits.cpu=2,pods=5")
        self.cluster.wait("the quota to be counted", lambda: "limits.cpu: 0/2" in self.out("get", "quota", "small"))
        line = self.out("get", "quota", "small", "--no-headers")
        self.assertRegex(line, r"configmaps: \d+/20, pods: \d+/5\s+limits.cpu: 0/2")
        self.assertIn("configmaps", self.out("describe", "quota", "small"))
        self.out("delete", "quota", "small")
        schemas = self.cluster.kubectl("get", "flowschemas").stdout
        self.assertRegex(schemas, r"exempt +exempt +1 +<none>")
        self.assertRegex(schemas, r"catch-all +catch-all +10000 +ByUser")
        levels = self.cluster.kubectl("get", "prioritylevelconfigurations").stdout
        self.assertRegex(levels, r"workload-low +Limited +100 +128 +6 +50")
