"""What the garbage collector and quotas do, seen through the API."""

import contextlib

from client import name
from suite import conformance, deployment, eventually, pod, same, template, unique

RC = {"apiVersion": "v1", "kind": "ReplicationController"}


def controller(title, replicas=2):
    labels = {"name": title}
    return dict(RC, metadata={"name": title}, spec={"replicas": replicas, "selector": labels, "template": template(labels)})


def ready_account(t, namespace):
    eventually("the default account", lambda: t.client.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))


def collector(title):
    return conformance("[sig-api-machinery] Garbage collector " + title)


@contextlib.contextmanager
def controlled(t, title="simpletest.rc"):
    """A ReplicationController with its pods: namespace, path and uid."""
    with t.namespace() as namespace:
        ready_account(t, namespace)
        path = f"/api/v1/namespaces/{namespace}/replicationcontrollers"
        uid = t.client.create(path, controller(title))["metadata"]["uid"]
        eventually("its pods", lambda: len(pods_of(t, namespace, uid)) == 2)
        yield namespace, f"{path}/{title}", uid


@contextlib.contextmanager
def deployed(t):
    """A Deployment with its ReplicaSet: the path of the group in a namespace."""
    with t.namespace() as namespace:
        ready_account(t, namespace)
        own = f"/apis/apps/v1/namespaces/{namespace}"
        t.client.create(f"{own}/deployments", deployment("simpletest"))
        eventually("its ReplicaSet", lambda: t.client.get(f"{own}/replicasets")["items"])
        yield own


def pods_of(t, namespace, owner):
    return [p for p in t.client.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
            if owner in [o["uid"] for o in p["metadata"].get("ownerReferences", [])]]


@collector("should delete pods created by rc when not orphaning")
def background(t):
    with controlled(t) as (namespace, own, uid):
        t.client.delete(own, {"propagationPolicy": "Background"})
        eventually("the pods' end", lambda: not pods_of(t, namespace, uid))


@collector("should orphan pods created by rc if delete options say so [Serial]")
def orphan(t):
    with controlled(t) as (namespace, own, _):
        t.client.delete(own, {"propagationPolicy": "Orphan"})
        eventually("its end", lambda: t.client.raw("GET", own)[0] == 404)
        left = t.client.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        same("pods that are left", len([p for p in left if not p["metadata"].get("deletionTimestamp")]), 2)


@collector("should keep the rc around until all its pods are deleted if the deleteOptions says so [Serial]")
def foreground(t):
    with controlled(t) as (namespace, own, uid):
        marked = t.client.delete(own, {"propagationPolicy": "Foreground"})
        assert "foregroundDeletion" in marked["metadata"]["finalizers"], marked["metadata"]

        def over():
            present = t.client.raw("GET", own)[0] == 200
            assert present or not pods_of(t, namespace, uid), "the controller went before its pods"
            return not present
        eventually("its end", over)


@collector("should delete RS created by deployment when not orphaning")
def replica_set(t):
    with deployed(t) as own:
        t.client.delete(f"{own}/deployments/simpletest", {"propagationPolicy": "Background"})
        eventually("the ReplicaSet's end", lambda: not t.client.get(f"{own}/replicasets")["items"])


@collector("should orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan")
def orphan_replica_set(t):
    with deployed(t) as own:
        t.client.delete(f"{own}/deployments/simpletest", {"propagationPolicy": "Orphan"})
        eventually("its end", lambda: t.client.raw("GET", f"{own}/deployments/simpletest")[0] == 404)
        left = t.client.get(f"{own}/replicasets")["items"]
        same("without an owner", [r["metadata"].get("ownerReferences", []) for r in left], [[]])


@collector("should not be blocked by dependency circle")
def circle(t):
    with t.namespace() as namespace:
        ready_account(t, namespace)
        path = f"/api/v1/namespaces/{namespace}/pods"
        made = [t.client.create(path, pod(f"pod{n}")) for n in (1, 2, 3)]
        for place, one in enumerate(made):
            owner = made[(place + 2) % 3]
            reference = {"apiVersion": "v1", "kind": "Pod", "name": name(owner), "uid": owner["metadata"]["uid"], "controller": True,
                         "blockOwnerDeletion": True}
            t.client.patch(f"{path}/{name(one)}", {"metadata": {"ownerReferences": [reference]}})
        t.client.delete(f"{path}/pod1", {"propagationPolicy": "Foreground"})
        eventually("the end of all three", lambda: not t.client.get(path)["items"])


@collector("should not delete dependents that have both valid owner and owner that's waiting for dependents to be deleted [Serial]")
def two_owners(t):
    with t.namespace() as namespace:
        ready_account(t, namespace)
        own, pods = f"/api/v1/namespaces/{namespace}/replicationcontrollers", f"/api/v1/namespaces/{namespace}/pods"
        first = t.client.create(own, controller("to-be-deleted"))
        second = t.client.create(own, controller("to-stay", replicas=0))
        uid = first["metadata"]["uid"]
        found = eventually("its pods", lambda: len(pods_of(t, namespace, uid)) == 2 and pods_of(t, namespace, uid))
        reference = {"apiVersion": "v1", "kind": "ReplicationController", "name": "to-stay", "uid": second["metadata"]["uid"]}
        shared = found[0]
        t.client.patch(f"{pods}/{name(shared)}", [{"op": "add", "path": "/metadata/ownerReferences/-", "value": reference}], "json")
        t.client.delete(f"{own}/to-be-deleted", {"propagationPolicy": "Foreground"})
        eventually("its end", lambda: t.client.raw("GET", f"{own}/to-be-deleted")[0] == 404)
        kept = t.client.get(f"{pods}/{name(shared)}")
        same("its owners", [o["name"] for o in kept["metadata"]["ownerReferences"]], ["to-stay"])
        assert not kept["metadata"].get("deletionTimestamp"), kept["metadata"]


# Quotas.

def quota_test(title):
    return conformance("[sig-api-machinery] ResourceQuota " + title)


def quota(title, hard, **spec):
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": title, "labels": {}}, "spec": dict({"hard": hard}, **spec)}


HARD = {"pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1", "replicationcontrollers": "10", "resourcequotas": "1",
        "cpu": "1", "memory": "500Mi", "configmaps": "10", "secrets": "10", "count/replicasets.apps": "5"}


def used(t, namespace, title):
    return t.client.get(f"/api/v1/namespaces/{namespace}/resourcequotas/{title}").get("status", {}).get("used", {})


def lives(t, resource, path, thing, amounts):
    """Usage follows the life of one object. `amounts`: what the object adds."""
    with t.namespace() as namespace:
        ready_account(t, namespace)
        t.client.create(f"/api/v1/namespaces/{namespace}/resourcequotas", quota("test-quota", HARD))
        before = eventually("the first count", lambda: used(t, namespace, "test-quota"))
        own = path.format(namespace)
        t.client.create(own, thing)

        def counted():
            now = used(t, namespace, "test-quota")
            return all(now[key] == value for key, value in amounts(before).items())
        eventually(f"the usage of a {resource}", counted)
        t.client.delete(f"{own}/{thing['metadata']['name']}")
        eventually("the usage of before", lambda: used(t, namespace, "test-quota") == before)


def one_more(key):
    return lambda before: {key: str(int(before[key]) + 1)}


@quota_test("should create a ResourceQuota and ensure its status is promptly calculated.")
def prompt(t):
    with t.namespace() as namespace:
        t.client.create(f"/api/v1/namespaces/{namespace}/resourcequotas", quota("test-quota", HARD))
        found = eventually("the first count", lambda: used(t, namespace, "test-quota"))
        same("itself", found["resourcequotas"], "1")


@quota_test("should create a ResourceQuota and capture the life of a configMap.")
def config_maps(t):
    lives(t, "ConfigMap", "/api/v1/namespaces/{}/configmaps", {"metadata": {"name": "test"}}, one_more("configmaps"))


@quota_test("should create a ResourceQuota and capture the life of a secret.")
def secrets(t):
    lives(t, "Secret", "/api/v1/namespaces/{}/secrets", {"metadata": {"name": "test"}}, one_more("secrets"))


@quota_test("should create a ResourceQuota and capture the life of a service.")
def services(t):
    lives(t, "Service", "/api/v1/namespaces/{}/services", {"metadata": {"name": "test"}, "spec": {"ports": [{"port": 80}]}}, one_more("services"))


@quota_test("should create a ResourceQuota and capture the life of a replication controller.")
def controllers(t):
    lives(t, "ReplicationController", "/api/v1/namespaces/{}/replicationcontrollers", controller("test", 0), one_more("replicationcontrollers"))


@quota_test("should create a ResourceQuota and capture the life of a replica set.")
def replica_sets(t):
    labels = {"a": "b"}
    thing = {"metadata": {"name": "test"}, "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template(labels)}}
    lives(t, "ReplicaSet", "/apis/apps/v1/namespaces/{}/replicasets", thing, one_more("count/replicasets.apps"))


@quota_test("should create a ResourceQuota and capture the life of a pod.")
def pods(t):
    with t.namespace() as namespace:
        ready_account(t, namespace)
        t.client.create(f"/api/v1/namespaces/{namespace}/resourcequotas", quota("test-quota", HARD))
        eventually("the first count", lambda: used(t, namespace, "test-quota"))
        path = f"/api/v1/namespaces/{namespace}/pods"

        def asking(title, cpu, memory):
            return pod(title, container={"resources": {"requests": {"cpu": cpu, "memory": memory}}})
        t.client.create(path, asking("test-pod", "500m", "252Mi"))
        eventually("its usage", lambda: (used(t, namespace, "test-quota")["pods"], used(t, namespace, "test-quota")["cpu"],
                                         used(t, namespace, "test-quota")["memory"]) == ("1", "500m", "252Mi"), 20)
        status = t.client.refused(403, "POST", path, asking("fail-pod", "600m", "100Mi"))
        assert "exceeded quota: test-quota" in status["message"], status["message"]
        t.client.delete(f"{path}/test-pod")
        eventually("its end", lambda: used(t, namespace, "test-quota")["pods"] == "0")


@quota_test("should verify ResourceQuota with best effort scope.")
def best_effort(t):
    with t.namespace() as namespace:
        ready_account(t, namespace)
        path = f"/api/v1/namespaces/{namespace}"
        t.client.create(f"{path}/resourcequotas", quota("quota-besteffort", {"pods": "5"}, scopes=["BestEffort"]))
        t.client.create(f"{path}/resourcequotas", quota("quota-not-besteffort", {"pods": "5"}, scopes=["NotBestEffort"]))
        t.client.create(f"{path}/pods", pod("free"))
        eventually("the free one", lambda: (used(t, namespace, "quota-besteffort").get("pods"), used(t, namespace, "quota-not-besteffort").get("pods"))
                   == ("1", "0"), 20)
        t.client.delete(f"{path}/pods/free")
        t.client.create(f"{path}/pods", pod("asking", container={"resources": {"requests": {"cpu": "10m"}}}))
        eventually("the asking one", lambda: (used(t, namespace, "quota-besteffort").get("pods"), used(t, namespace, "quota-not-besteffort").get("pods"))
                   == ("0", "1"), 40)


@quota_test("should verify ResourceQuota with terminating scopes.")
def terminating(t):
    with t.namespace() as namespace:
        ready_account(t, namespace)
        path = f"/api/v1/namespaces/{namespace}"
        t.client.create(f"{path}/resourcequotas", quota("quota-terminating", {"pods": "5"}, scopes=["Terminating"]))
        t.client.create(f"{path}/resourcequotas", quota("quota-not-terminating", {"pods": "5"}, scopes=["NotTerminating"]))
        t.client.create(f"{path}/pods", pod("long"))
        t.client.create(f"{path}/pods", pod("short", activeDeadlineSeconds=3600))
        eventually("one each", lambda: (used(t, namespace, "quota-terminating").get("pods"), used(t, namespace, "quota-not-terminating").get("pods"))
                   == ("1", "1"), 20)


@quota_test("should be able to update and delete ResourceQuota.")
def update_quota(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/resourcequotas"
        made = t.client.create(path, quota("test-quota", {"cpu": "1", "memory": "500Mi"}))
        made["spec"]["hard"] = {"cpu": "2", "memory": "1Gi"}
        eventually("the update", lambda: t.client.patch(f"{path}/test-quota", {"spec": made["spec"]})["spec"]["hard"]["cpu"] == "2")
        t.client.delete(f"{path}/test-quota")
        same("gone", t.client.raw("GET", f"{path}/test-quota")[0], 404)


@quota_test("should manage the lifecycle of a ResourceQuota")
def quota_life(t):
    from namespaces import operations
    with t.namespace() as namespace:
        operations(t, f"/api/v1/namespaces/{namespace}/resourcequotas", quota("x", {"cpu": "1"}))


@quota_test("should apply changes to a resourcequota status")
def quota_status(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/resourcequotas"
        t.client.create(path, quota("test-quota", {"cpu": "500m", "memory": "500Mi"}))
        eventually("the first count", lambda: used(t, namespace, "test-quota"))
        done = t.client.patch(f"{path}/test-quota/status", {"status": {"hard": {"memory": "750Mi"}}})
        same("status.hard", done["status"]["hard"]["memory"], "750Mi")
        # The controller brings it back to what the spec says.
        eventually("the spec's word", lambda: t.client.get(f"{path}/test-quota")["status"]["hard"]["memory"] == "500Mi")
