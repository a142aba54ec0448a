"""kubectl's commands about who may do what, and about the cluster and kubectl itself."""

import base64
import json
import os
import subprocess

from journeys import Journey


class J2_KubectlAccess(Journey):
    def out(self, *words, **more):
        return self.cluster.kubectl(*words, **more).stdout

    def test_auth_and_tokens(self):
        self.assertEqual(self.out("auth", "can-i", "create", "pods"), "yes\n")
        refused = self.cluster.kubectl("auth", "can-i", "delete", "nodes", "--as=kim", check=False)
        self.assertEqual((refused.returncode, refused.stdout), (1, "no\n"))
        self.assertIn("selfsubjectaccessreviews.authorization.k8s.io", self.out("auth", "can-i", "--list", "--as=kim", "--as-group=system:authenticated"))
        self.assertIn("kim", self.out("auth", "whoami", "--as=kim", "--as-group=system:masters", "-o", "yaml"))
        self.out("create", "serviceaccount", "robot")
        self.out("create", "clusterrole", "looker", "--verb=get,list", "--resource=configmaps")
        self.out("create", "rolebinding", "robot", "--clusterrole=looker", "--serviceaccount=default:robot")
        try:
            token = self.out("create", "token", "robot", "--duration=1h").strip()
            claims = token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
            self.assertEqual(claims["sub"], "system:serviceaccount:default:robot")
            self.assertEqual(claims["exp"] - claims["iat"], 3600)
            config = self.config_of(token)
            self.assertIn("kube-root-ca.crt", self.with_config(config, "get", "configmaps").stdout)
            refused = self.with_config(config, "get", "secrets")
            self.assertIn('User "system:serviceaccount:default:robot" cannot list resource "secrets"', refused.stderr)
            role = self.out("get", "clusterrole", "looker", "-o", "yaml").replace("- get\n", "- get\n  - watch\n", 1)
            self.assertIn("reconciled", self.out("auth", "reconcile", "-f", "-", input=role))
        finally:
            self.out("delete", "rolebinding/robot", "clusterrole/looker", "serviceaccount/robot")

    def config_of(self, token):
        """A kubeconfig made by `kubectl config` alone."""
        path = f"{self.cluster.scratch('config')}/config"
        server = self.out("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
        authority = self.out("config", "view", "--raw", "--minify", "-o", "jsonpath={.clusters[0].cluster.certificate-authority-data}")
        ca = f"{path}.ca"
        with open(ca, "wb") as file:
            file.write(base64.b64decode(authority))
        for words in (
                ("set-cluster", "c", f"--server={server}", f"--certificate-authority={ca}", "--embed-certs"),
                ("set-credentials", "robot", f"--token={token}"), ("set-context", "one", "--cluster=c", "--user=robot"),
                ("use-context", "one"), ("rename-context", "one", "two"), ("set", "contexts.two.namespace", "default")):
            self.out("--kubeconfig", path, "config", *words)
        self.assertEqual(self.out("--kubeconfig", path, "config", "current-context"), "two\n")
        self.assertEqual(self.out("--kubeconfig", path, "config", "get-contexts", "-o", "name"), "two\n")
        return path

    def with_config(self, path, *words):
        return self.cluster.kubectl("--kubeconfig", path, *words, check=False)

    def test_certificates(self):
        folder = self.cluster.scratch("csr")
        subprocess.run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{folder}/key",
             "-subj", "/CN=kim/O=people", "-out", f"{folder}/csr"], check=True, capture_output=True)
        with open(f"{folder}/csr", "rb") as file:
            request = base64.b64encode(file.read()).decode()
        for name in ("kim", "stranger"):
            self.out("apply", "-f", "-", input=json.dumps({
                "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
                "spec": {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}}))
        self.assertIn("Pending", self.out("get", "csr", "kim"))
        self.assertIn("approved", self.out("certificate", "approve", "kim"))
        self.assertIn("denied", self.out("certificate", "deny", "stranger"))
        self.cluster.wait("the certificate", lambda: "Approved,Issued" in self.out("get", "csr", "kim"))
        self.assertIn("Denied", self.out("get", "csr", "stranger"))
        with open(f"{folder}/crt", "wb") as file:
            file.write(base64.b64decode(self.out("get", "csr", "kim", "-o", "jsonpath={.status.certificate}")))
        who = self.cluster.kubectl(
            "--client-certificate", f"{folder}/crt", "--client-key", f"{folder}/key", "auth", "whoami", "-o",
            "jsonpath={.status.userInfo.username}", check=False)
        self.assertEqual(who.stdout, "kim", who.stderr)
        self.out("delete", "csr", "kim", "stranger")

    def test_the_cluster_itself(self):
        self.assertIn("Kubernetes control plane", self.out("cluster-info"))
        folder = self.cluster.scratch("dump")
        self.out("cluster-info", "dump", "--namespaces=demo", f"--output-directory={folder}")
        self.assertTrue(os.path.exists(f"{folder}/demo/pods.json"))
        version = json.loads(self.out("version", "-o", "json"))
        self.assertTrue(version["serverVersion"]["gitVersion"].startswith("v1."))
        resources = self.out("api-resources", "--verbs=list", "--sort-by=name")
        for line in ("poddisruptionbudgets", "horizontalpodautoscalers", "pods"):
            self.assertIn(line, resources)
        self.assertEqual(self.out("api-resources", "--api-group=policy", "-o", "name"), "poddisruptionbudgets.policy\n")
        self.assertIn("apps/v1\n", self.out("api-versions"))
        self.assertEqual(self.out("get", "--raw", "/readyz"), "ok")
        self.assertIn("[+]", self.out("get", "--raw", "/livez?verbose"))
        self.assertIn("scheduler", self.out("get", "componentstatuses"))

    def test_kubectl_itself(self):
        self.assertIn("__start_kubectl", self.out("completion", "bash"))
        self.assertIn("configmaps", self.out("__complete", "get", "configm"))
        self.assertIn("weft-system", self.out("__complete", "get", "pods", "-n", "weft"))
        folder = self.cluster.scratch("plugin")
        with open(f"{folder}/kubectl-greet", "w") as file:
            file.write("#!/bin/sh\necho hello $1\n")
        os.chmod(f"{folder}/kubectl-greet", 0o755)
        _, environment = self.cluster.kubectl_command()
        environment["PATH"] = f"{folder}:{environment['PATH']}"
        listed = self.cluster.run_kubectl(["plugin", "list"], 60, environment=environment).stdout.decode()
        self.assertIn("kubectl-greet", listed)
        self.assertEqual(self.cluster.run_kubectl(["greet", "you"], 60, environment=environment).stdout, b"hello you\n")
        self.assertIn("--namespace", self.out("options"))
