"""kubectl's commands that talk with running containers."""

import glob
import os
import re
import socket
import subprocess

from journeys import Journey

IMAGE = "weft.dev/demo:v1"

TALKER = """
apiVersion: v1
kind: Pod
metadata: {name: talker, namespace: default, labels: {app: talker}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: weft.dev/demo:v1
    stdin: true
    command: [sh, -c, 'echo up; while read x; do echo got $x; done']
    resources: {requests: {cpu: 20m, memory: 16Mi}, limits: {cpu: 100m, memory: 32Mi}}
  - name: side
    image: weft.dev/demo:v1
    command: [sh, -c, 'echo beside; exec sleep 4321']
    resources:
      requests: {cpu: 10m}
      limits: {cpu: 50m}
    resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]
"""


class J2_KubectlStreams(Journey):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cluster = cls.shared()
        cluster.kubectl("apply", "-f", "-", input=TALKER)
        cluster.kubectl("wait", "pod/talker", "--for=condition=Ready", "--timeout=60s")

    @classmethod
    def tearDownClass(cls):
        cls.shared().kubectl("delete", "pod", "talker", "--now", "--ignore-not-found")
        super().tearDownClass()

    def pod(self, name="talker"):
        return self.cluster.objects("pod", name)

    def started(self, *words):
        """A kubectl that goes on, with pipes on all sides; ended with the test."""
        program, environment = self.cluster.kubectl_command()
        process = subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

        def end():
            process.kill()
            process.wait(60)
            process.stdin.close()
            process.stdout.close()
        self.addCleanup(end)
        return process

    def test_logs(self):
        kubectl = self.cluster.kubectl
        self.assertEqual(kubectl("logs", "talker", "-c", "side").stdout, "beside\n")
        self.assertIn("Defaulted container \"app\"", kubectl("logs", "talker").stderr)
        everything = kubectl("logs", "-l", "app=talker", "--all-containers", "--prefix").stdout
        self.assertIn("[pod/talker/side] beside\n", everything)
        self.assertRegex(kubectl("logs", "talker", "-c", "side", "--timestamps").stdout, r"^\d{4}-\d\d-\d\dT.*Z beside\n$")
        self.assertEqual(kubectl("logs", "talker", "-c", "side", "--tail=0").stdout, "")
        self.assertEqual(kubectl("logs", "talker", "-c", "side", "--since=1h").stdout, "beside\n")
        self.assertEqual(kubectl("logs", "talker", "-c", "side", "--since-time=2099-01-01T00:00:00Z").stdout, "")
        # kubectl rounds to whole seconds, and none is too few for Kubernetes.
        told = kubectl("logs", "talker", "-c", "side", "--since=1ns", check=False)
        self.assertIn("sinceSeconds: Invalid value: 0: must be greater than 0", told.stderr)
        told = kubectl("logs", "talker", "-c", "side", "--previous", check=False)
        self.assertIn('previous terminated container "side" in pod "talker" not found', told.stderr)
        following = self.started("logs", "-f", "talker", "-c", "side")
        self.assertEqual(following.stdout.readline(), "beside\n")
        kubectl("exec", "talker", "-c", "side", "--", "sh", "-c", "echo later > /proc/1/fd/1")
        self.assertEqual(following.stdout.readline(), "later\n")

    def test_attach_writes_and_reads_and_leaves_the_input_open(self):
        for word in ("one", "two"):
            attached = self.started("attach", "-i", "-c", "app", "talker")
            attached.stdin.write(f"{word}\n")
            attached.stdin.flush()
            self.assertEqual(attached.stdout.readline(), f"got {word}\n")
            attached.kill()
            attached.wait(60)
        self.assertEqual(self.pod()["status"]["containerStatuses"][0]["restartCount"], 0)

    def test_run_with_input_ends_with_it_and_tells_the_exit_code(self):
        script = "read a; read b; echo $a-$b; cat; exit 3"
        told = self.cluster.kubectl(
            "run", "adder", "-i", "--rm", "--quiet", "--restart=Never", f"--image={IMAGE}", "--command", "--", "sh", "-c", script,
            check=False, input="one\ntwo\nrest\n")
        self.assertEqual((told.returncode, told.stdout), (3, "one-two\nrest\n"), told.stderr)
        self.cluster.wait("the pod to go", lambda: not self.cluster.objects("pods", "-l", "run=adder")["items"])

    def test_run_on_a_terminal(self):
        terminal = self.cluster.terminal(
            "run", "shell", "-it", "--rm", "--restart=Never", f"--image={IMAGE}", "--command", "--", "sh")
        self.addCleanup(terminal.close)
        terminal.expect("try pressing enter|# ")
        terminal.type("\n")
        terminal.expect("# ")
        terminal.type("echo $((6 * 7)) $TERM\n")
        terminal.expect(r"42 xterm\r\n")
        terminal.type("busybox stty size\n")
        terminal.expect(r"41 133\r\n")
        terminal.resize(24, 80)

        def has_size():
            terminal.type("busybox stty size\n")
            return terminal.expect(r"\d+ \d+\r\n").group(0) == "24 80\r\n"
        self.cluster.wait("the container's terminal to have the new size", has_size)
        terminal.type("exit 0\n")
        self.assertEqual(terminal.finish(), 0, terminal.text)
        self.cluster.wait("the pod to go", lambda: not self.cluster.objects("pods", "-l", "run=shell")["items"])

    def test_exec_on_a_terminal(self):
        terminal = self.cluster.terminal("exec", "-it", "talker", "-c", "side", "--", "sh")
        self.addCleanup(terminal.close)
        terminal.expect("# ")
        terminal.type("busybox tty; busybox stty size; exit 5\n")
        terminal.expect(r"/dev/pts/\d+\r\n41 133\r\n")
        self.assertEqual(terminal.finish(), 5, terminal.text)

    def test_cp_both_ways(self):
        folder = self.cluster.scratch("cp")
        with open(f"{folder}/there", "w") as file:
            file.write("carried\n")
        kubectl = self.cluster.kubectl
        kubectl("cp", f"{folder}/there", "talker:/tmp-there", "-c", "side")
        self.assertEqual(kubectl("exec", "talker", "-c", "side", "--", "cat", "/tmp-there").stdout, "carried\n")
        kubectl("cp", "talker:/tmp-there", f"{folder}/back", "-c", "side")
        with open(f"{folder}/back") as file:
            self.assertEqual(file.read(), "carried\n")

    def test_debug_sees_the_target(self):
        kubectl = self.cluster.kubectl
        kubectl("debug", "talker", f"--image={IMAGE}", "--target=side", "-c", "look", "--", "sh", "-c", "ps; exec sleep 1000")
        look = lambda: kubectl("logs", "talker", "-c", "look", check=False).stdout  # noqa: E731
        self.cluster.wait("the processes of the target", lambda: "sleep 4321" in look())
        shown = look()
        self.assertNotIn("while read", shown, "it sees another container's processes")
        status = next(s for s in self.pod()["status"]["ephemeralContainerStatuses"] if s["name"] == "look")
        self.assertIn("running", status["state"])
        self.assertIn("sleep 4321", kubectl("exec", "talker", "-c", "look", "--", "ps").stdout)
        self.assertIn("look", kubectl("describe", "pod", "talker").stdout)
        terminal = self.cluster.terminal("debug", "-it", "talker", f"--image={IMAGE}", "-c", "typed", "--", "sh")
        self.addCleanup(terminal.close)
        terminal.expect("try pressing enter|# ")
        terminal.type("\necho $((5 * 5)); hostname; exit\n")
        terminal.expect(r"25\r\n")
        terminal.expect(r"talker\r\n")
        terminal.finish()
        ended = lambda: [s["state"] for s in self.pod()["status"]["ephemeralContainerStatuses"] if s["name"] == "typed"]  # noqa: E731
        self.cluster.wait("its end to be told", lambda: "terminated" in ended()[0])
        again = kubectl("debug", "talker", f"--image={IMAGE}", "-c", "look", check=False)
        self.assertNotEqual(again.returncode, 0)

    def test_debug_by_a_copy(self):
        kubectl = self.cluster.kubectl
        kubectl("debug", "talker", "--copy-to=talker-copy", "--share-processes", "--container=side", "--", "sleep", "77")
        try:
            kubectl("wait", "pod/talker-copy", "--for=condition=Ready", "--timeout=60s")
            self.assertIn("sleep 77", kubectl("exec", "talker-copy", "-c", "app", "--", "ps").stdout)
        finally:
            kubectl("delete", "pod", "talker-copy", "--now")

    def test_port_forward_to_a_service_and_proxy(self):
        kubectl = self.cluster.kubectl
        forward = self.started("port-forward", "-n", "demo", "service/frontend", ":80")
        port = int(re.search(r"127\.0\.0\.1:(\d+) ->", forward.stdout.readline()).group(1))
        with socket.create_connection(("127.0.0.1", port), 10) as line:
            line.sendall(b"GET /readyz HTTP/1.1\r\nhost: frontend\r\nconnection: close\r\n\r\n")
            self.assertTrue(line.recv(4096).startswith(b"HTTP/1.1 200"))
        proxy = self.started("proxy", "--port=0")
        port = int(re.search(r"127\.0\.0\.1:(\d+)", proxy.stdout.readline()).group(1))
        with socket.create_connection(("127.0.0.1", port), 10) as line:
            line.sendall(b"GET /api/v1/namespaces/default/pods/talker HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            answer = b""
            while more := line.recv(65536):
                answer += more
        self.assertIn(b'"name":"talker"', answer.replace(b'": "', b'":"'))
        self.assertTrue(kubectl("get", "--raw", "/api/v1/namespaces/demo/services/frontend/proxy/readyz").stdout)

    # MARK: Resize

    def limit(self, container, controller, file):
        """What the kernel says a container may use."""
        uid = self.pod()["metadata"]["uid"]
        name = f"weft/{self.cluster.name}/*/pod{uid}/{container}/{file}"
        found = glob.glob(f"/sys/fs/cgroup/{controller}/{name}") + glob.glob(f"/sys/fs/cgroup/{name}")
        self.assertEqual(len(found), 1, f"{name}: {found}")
        with open(found[0]) as file:
            return file.read().split()[0]

    def processor_quota(self, container):
        version1 = os.path.exists("/sys/fs/cgroup/cpu")
        return self.limit(container, "cpu", "cpu.cfs_quota_us" if version1 else "cpu.max")

    def memory_limit(self, container):
        version1 = os.path.exists("/sys/fs/cgroup/memory")
        return self.limit(container, "memory", "memory.limit_in_bytes" if version1 else "memory.max")

    def resize(self, container, resources, check=True):
        patch = '{"spec":{"containers":[{"name":"%s","resources":%s}]}}' % (container, resources)
        return self.cluster.kubectl("patch", "pod", "talker", "--subresource=resize", "--patch", patch, check=check)

    def status(self, container):
        return next(s for s in self.pod()["status"]["containerStatuses"] if s["name"] == container)

    def test_resize_in_place_and_by_restart(self):
        self.assertEqual((self.processor_quota("app-0"), self.memory_limit("app-0")), ("10000", str(32 << 20)))
        self.resize("app", '{"requests":{"cpu":"30m"},"limits":{"cpu":"250m","memory":"64Mi"}}')
        self.cluster.wait("the kernel to be told", lambda: self.processor_quota("app-0") == "25000")
        self.assertEqual(self.memory_limit("app-0"), str(64 << 20))
        self.cluster.wait("the status to say so", lambda: self.status("app")["resources"]["limits"]["cpu"] == "250m")
        self.assertEqual(self.status("app")["restartCount"], 0)
        self.resize("app", '{"limits":{"cpu":"50m","memory":"24Mi"}}')
        self.cluster.wait("less", lambda: self.processor_quota("app-0") == "5000" and self.memory_limit("app-0") == str(24 << 20))
        self.resize("side", '{"limits":{"cpu":"80m"}}')
        self.cluster.wait("the restart its policy asks for", lambda: self.status("side")["restartCount"] == 1)
        self.cluster.wait("its new limit", lambda: self.processor_quota("side-1") == "8000")

        self.resize("app", '{"requests":{"cpu":"900"},"limits":{"cpu":"900"}}')

        def pending():
            return [c for c in self.pod()["status"]["conditions"] if c["type"] == "PodResizePending"]
        self.assertEqual(self.cluster.wait("a refusal", pending)[0]["reason"], "Infeasible")
        self.assertEqual(self.processor_quota("app-0"), "5000")
        self.resize("app", '{"requests":{"cpu":"20m"},"limits":{"cpu":"50m"}}')
        self.cluster.wait("the refusal to go", lambda: not pending())
        refused = self.resize("app", '{"requests":{"cpu":"50m","memory":"24Mi"},"limits":{"ephemeral-storage":"1Gi"}}', check=False)
        self.assertIn("only cpu and memory resources are mutable", refused.stderr)
