"""Accounts, tokens, reviews, certificates."""

import base64
import json
import subprocess

from client import Client, name
from controllers import ready_account
from namespaces import operations
from suite import conformance, eventually, pod, same, unique

TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"


def accounts(title):
    return conformance("[sig-auth] ServiceAccounts " + title)


def logs(t, namespace, title):
    """What a pod has said, once it has ended."""
    own = f"/api/v1/namespaces/{namespace}/pods/{title}"
    eventually("the pod's end", lambda: t.client.get(own)["status"].get("phase") in ("Succeeded", "Failed"))
    return t.client.raw("GET", f"{own}/log")[2].decode()


def script(text):
    return {"command": ["sh", "-c", text], "args": []}


@accounts("should mount an API token into pods")
def mounted(t):
    with t.namespace() as namespace:
        ready_account(t, namespace)
        made = pod("inclusterclient", container=script(f"cat {TOKENS}/token; echo; cat {TOKENS}/namespace; echo; head -1 {TOKENS}/ca.crt"),
                   restartPolicy="Never")
        t.client.create(f"/api/v1/namespaces/{namespace}/pods", made)
        token, told, root = logs(t, namespace, "inclusterclient").strip().split("\n")
        same("namespace and root", (told, root), (namespace, "-----BEGIN CERTIFICATE-----"))
        review = t.client.create("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
        same("who it is", review["status"]["user"]["username"], f"system:serviceaccount:{namespace}:default")


@accounts("should mount projected service account token")
def projected(t):
    with t.namespace() as namespace:
        ready_account(t, namespace)
        made = pod("test-pod", container=dict(script("cat /var/run/secrets/tokens/test-token"),
                                              volumeMounts=[{"name": "tokens", "mountPath": "/var/run/secrets/tokens"}]), restartPolicy="Never")
        made["spec"]["volumes"] = [{"name": "tokens", "projected": {"sources": [{"serviceAccountToken": {"path": "test-token", "expirationSeconds": 3600,
                                                                                                       "audience": "vault"}}]}}]
        t.client.create(f"/api/v1/namespaces/{namespace}/pods", made)
        claims = json.loads(base64.urlsafe_b64decode(logs(t, namespace, "test-pod").strip().split(".")[1] + "=="))
        same("audience", claims["aud"], ["vault"])


@accounts("should allow opting out of API token automount")
def opting_out(t):
    with t.namespace() as namespace:
        ready_account(t, namespace)
        own = f"/api/v1/namespaces/{namespace}"
        for title, mounts in (("mount", True), ("nomount", False)):
            t.client.create(f"{own}/serviceaccounts", {"metadata": {"name": title}, "automountServiceAccountToken": mounts})
        for account, spec, wanted in (("mount", None, True), ("mount", False, False), ("nomount", None, False), ("nomount", True, True)):
            more = {} if spec is None else {"automountServiceAccountToken": spec}
            made = t.client.create(f"{own}/pods", pod(unique("p"), serviceAccountName=account, **more))
            found = [m for c in made["spec"]["containers"] for m in c.get("volumeMounts", []) if m["mountPath"] == TOKENS]
            same(f"account {account}, pod {spec}", bool(found), wanted)


@accounts("should run through the lifecycle of a ServiceAccount")
def life(t):
    with t.namespace() as namespace:
        operations(t, f"/api/v1/namespaces/{namespace}/serviceaccounts", {})


@accounts("should update a ServiceAccount")
def update(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        made = t.client.create(path, {"metadata": {"name": "e2e-sa"}, "automountServiceAccountToken": False})
        made["automountServiceAccountToken"] = True
        same("update", t.client.replace(f"{path}/e2e-sa", made)["automountServiceAccountToken"], True)


@accounts("should guarantee kube-root-ca.crt exist in any namespace")
def root_certificate(t):
    with t.namespace() as namespace:
        own = f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt"

        def there():
            return t.client.get(own)["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
        eventually("the root", there)
        t.client.delete(own)
        eventually("the root again", there)
        t.client.patch(own, {"data": {"ca.crt": "changed"}})
        eventually("the root as it was", there)


@accounts("should create a serviceAccountToken and ensure a successful TokenReview")
def token_review(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        made = t.client.create(path, {"metadata": {"name": "e2e-sa"}})
        given = t.client.create(f"{path}/e2e-sa/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
        review = t.client.create("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": given["status"]["token"]}})
        user = review["status"]["user"]
        same("who", (review["status"]["authenticated"], user["username"], user["uid"]),
             (True, f"system:serviceaccount:{namespace}:e2e-sa", made["metadata"]["uid"]))
        t.client.delete(f"{path}/e2e-sa")
        gone = t.client.create("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": given["status"]["token"]}})
        assert not gone["status"].get("authenticated"), gone["status"]


@accounts("ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer")
def issuer(t):
    told = t.client.get("/.well-known/openid-configuration")
    keys = t.client.call("GET", "/openid/v1/jwks", headers={"Accept": "application/jwk-set+json"})["keys"]
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        t.client.create(path, {"metadata": {"name": "sa"}})
        token = t.client.create(f"{path}/sa/token", {"spec": {}})["status"]["token"]
        head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
        same("issuer", claims["iss"], told["issuer"])
        assert head["kid"] in [key["kid"] for key in keys], (head, keys)


@conformance("[sig-auth] SubjectReview should support SubjectReview API operations")
def subject_review(t):
    path = "/apis/authorization.k8s.io/v1"
    with t.namespace() as namespace:
        asked = {"verb": "list", "resource": "configmaps", "version": "v1", "namespace": namespace}
        t.client.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "e2e"}})
        user = f"system:serviceaccount:{namespace}:e2e"
        spec = {"user": user, "resourceAttributes": asked}
        same("before", t.client.create(f"{path}/subjectaccessreviews", {"spec": spec})["status"]["allowed"], False)
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        t.client.create(f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]})
        t.client.create(f"{rbac}/rolebindings", {"metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
                                                "subjects": [{"kind": "ServiceAccount", "name": "e2e", "namespace": namespace}]})

        def allowed():
            return t.client.create(f"{path}/subjectaccessreviews", {"spec": spec})["status"]["allowed"]
        eventually("the role", allowed)
        local = t.client.create(f"{path}/namespaces/{namespace}/localsubjectaccessreviews", {"metadata": {"namespace": namespace}, "spec": spec})
        same("local", local["status"]["allowed"], True)
        token = t.client.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/e2e/token", {"spec": {}})["status"]["token"]
        one = Client(t.cluster.kubeconfig, token)
        same("by itself", one.create(f"{path}/selfsubjectaccessreviews", {"spec": {"resourceAttributes": asked}})["status"]["allowed"], True)
        one.get(f"/api/v1/namespaces/{namespace}/configmaps")
        one.refused(403, "GET", f"/api/v1/namespaces/{namespace}/secrets")


@conformance("[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API operations")
def certificates(t):
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    made = subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
                           "-subj", "/O=e2e/CN=e2e-user"], capture_output=True, check=True).stdout
    spec = {"request": base64.b64encode(made).decode(), "signerName": "kubernetes.io/kube-apiserver-client", "expirationSeconds": 3600,
            "usages": ["client auth", "digital signature"]}
    label = unique("csr")
    first = t.client.create(path, {"metadata": {"generateName": "e2e-csr-", "labels": {"test": label}}, "spec": spec})
    own = f"{path}/{name(first)}"
    assert t.client.get(path, labelSelector=f"test={label}")["items"]
    t.client.patch(own, {"metadata": {"annotations": {"patched": "true"}}})
    approved = t.client.get(f"{own}/approval")
    approved.setdefault("status", {})["conditions"] = [{"type": "Approved", "status": "True", "reason": "E2E", "message": "by a test"}]
    done = t.client.replace(f"{own}/approval", approved)
    same("approved", done["status"]["conditions"][0]["type"], "Approved")
    signed = eventually("the certificate", lambda: t.client.get(own)["status"].get("certificate"))
    text = subprocess.run(["openssl", "x509", "-noout", "-subject", "-checkend", "0"], input=base64.b64decode(signed), capture_output=True)
    assert text.returncode == 0 and b"e2e-user" in text.stdout, text
    told = t.client.patch(f"{own}/status", {"metadata": {"annotations": {"status": "patched"}}})
    same("status", told["metadata"]["name"], name(first))
    t.client.delete(own)
    t.client.create(path, {"metadata": {"generateName": "e2e-csr-", "labels": {"test": label}}, "spec": spec})
    t.client.delete(path, labelSelector=f"test={label}")
    same("left", t.client.get(path, labelSelector=f"test={label}")["items"], [])
