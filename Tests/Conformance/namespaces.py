"""Namespaces, events, limits, and kinds whose whole set of operations is asked for."""

import json

from client import name, version
from suite import conformance, eventually, pod, same, unique
from watches import kinds, take


def operations(t, path, made, *, status=None, collection=True, change=None, selector=None):
    """create, get, list, watch, patch, update, status, delete, deletecollection, as these tests ask for them.

    `made`: an object without a name. `status`: a patch of its status and what must be there afterwards.
    """
    label = {"e2e-test-uid": unique("x")}
    selector = {"labelSelector": ",".join(f"{k}={v}" for k, v in label.items())}
    objects = []
    for number in range(3):
        thing = json.loads(json.dumps(made))
        thing.setdefault("metadata", {})["name"] = unique("e2e")
        thing["metadata"].setdefault("labels", {}).update(label)
        objects.append(t.client.create(path, thing))
    first = objects[0]
    own = f"{path}/{name(first)}"
    same("get", t.client.get(own)["metadata"]["uid"], first["metadata"]["uid"])
    listed = t.client.get(path, **selector)
    same("list", len(listed["items"]), 3)
    start = version(listed)
    patched = t.client.patch(own, {"metadata": {"annotations": {"patched": "true"}}})
    same("patch", patched["metadata"]["annotations"]["patched"], "true")
    patched["metadata"]["annotations"]["updated"] = "true"
    if change:
        change(patched)
    updated = t.client.replace(own, patched)
    same("update", updated["metadata"]["annotations"]["updated"], "true")
    seen = take(t.client.watch(path, resourceVersion=start, **selector), 2)
    same("watch", kinds(seen), ["MODIFIED", "MODIFIED"])
    if status is not None:
        wanted = t.client.patch(f"{own}/status", {"status": status})
        for key, value in status.items():
            same(f"status.{key}", wanted["status"][key], value)
        same("get status", t.client.get(f"{own}/status")["metadata"]["uid"], first["metadata"]["uid"])
    t.client.delete(own)
    eventually("the deletion", lambda: t.client.raw("GET", own)[0] == 404)
    same("after delete", len(t.client.get(path, **selector)["items"]), 2)
    if collection:
        t.client.delete(path, **selector)
        eventually("the collection's end", lambda: not t.client.get(path, **selector)["items"])
    else:
        for thing in objects[1:]:
            t.client.delete(f"{path}/{name(thing)}")


@conformance("[sig-api-machinery] Namespaces [Serial] should patch a Namespace")
def patch_namespace(t):
    with t.namespace() as namespace:
        done = t.client.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"testLabel": "testValue"}}}, "strategic")
        same("label", done["metadata"]["labels"]["testLabel"], "testValue")


@conformance("[sig-api-machinery] Namespaces [Serial] should apply changes to a namespace status")
def namespace_status(t):
    with t.namespace() as namespace:
        own = f"/api/v1/namespaces/{namespace}/status"
        same("phase", t.client.get(own)["status"]["phase"], "Active")
        condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by a test"}
        done = t.client.patch(own, {"status": {"conditions": [condition]}})
        assert any(c["type"] == "StatusPatch" for c in done["status"]["conditions"]), done["status"]
        done["status"]["conditions"].append(dict(condition, type="StatusUpdate"))
        done = t.client.replace(own, done)
        assert any(c["type"] == "StatusUpdate" for c in done["status"]["conditions"]), done["status"]


@conformance("[sig-api-machinery] Namespaces [Serial] should apply an update to a Namespace")
def update_namespace(t):
    with t.namespace() as namespace:
        made = t.client.get(f"/api/v1/namespaces/{namespace}")
        made["metadata"]["labels"][namespace] = "updated"
        same("label", t.client.replace(f"/api/v1/namespaces/{namespace}", made)["metadata"]["labels"][namespace], "updated")


@conformance("[sig-api-machinery] Namespaces [Serial] should apply a finalizer to a Namespace")
def finalize_namespace(t):
    with t.namespace() as namespace:
        own = f"/api/v1/namespaces/{namespace}"
        made = t.client.get(own)
        made["spec"]["finalizers"].append("e2e.example.com/fakeFinalizer")
        done = t.client.replace(f"{own}/finalize", made)
        assert "e2e.example.com/fakeFinalizer" in done["spec"]["finalizers"], done["spec"]
        done["spec"]["finalizers"] = ["kubernetes"]
        same("removed", t.client.replace(f"{own}/finalize", done)["spec"]["finalizers"], ["kubernetes"])


def emptied(t, path, thing):
    """Deletes a namespace with something in it, and makes it again: what was in it is gone."""
    namespace = unique("nsdeletetest")
    t.client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    eventually("the default account", lambda: t.client.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))
    t.client.create(path.format(namespace), thing)
    t.client.delete(f"/api/v1/namespaces/{namespace}")
    eventually("the namespace's end", lambda: t.client.raw("GET", f"/api/v1/namespaces/{namespace}")[0] == 404)
    t.client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    same("what is left", t.client.get(path.format(namespace))["items"], [])
    t.client.delete(f"/api/v1/namespaces/{namespace}")


@conformance("[sig-api-machinery] Namespaces [Serial] should ensure that all pods are removed when a namespace is deleted")
def pods_go(t):
    emptied(t, "/api/v1/namespaces/{}/pods", pod("test-pod"))


@conformance("[sig-api-machinery] Namespaces [Serial] should ensure that all services are removed when a namespace is deleted")
def services_go(t):
    emptied(t, "/api/v1/namespaces/{}/services", {"metadata": {"name": "test-service"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}})


@conformance("[sig-api-machinery] OrderedNamespaceDeletion namespace deletion should delete pod first")
def pods_first(t):
    namespace = unique("ordered")
    own = f"/api/v1/namespaces/{namespace}"
    t.client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    eventually("the default account", lambda: t.client.get(f"{own}/serviceaccounts/default"))
    held = pod("held")
    held["metadata"]["finalizers"] = ["e2e.example.com/hold"]
    t.client.create(f"{own}/pods", held)
    t.client.create(f"{own}/configmaps", {"metadata": {"name": "later"}})
    t.client.delete(own)
    eventually("the pod's deletion to begin", lambda: t.client.get(f"{own}/pods/held")["metadata"].get("deletionTimestamp"))
    assert t.client.get(f"{own}/configmaps/later")["metadata"].get("deletionTimestamp") is None
    t.client.patch(f"{own}/pods/held", {"metadata": {"finalizers": None}})
    eventually("the namespace's end", lambda: t.client.raw("GET", own)[0] == 404)


def event(namespace, **more):
    return dict({"involvedObject": {"kind": "Pod", "namespace": namespace, "name": "some"}, "reason": "Testing", "message": "a test",
                 "type": "Normal", "source": {"component": "e2e"}, "count": 1}, **more)


@conformance("[sig-instrumentation] Events should manage the lifecycle of an event")
def core_event(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/events"
        t.client.create(path, event(namespace, metadata={"name": "event-test", "labels": {"testevent-constant": "true"}}))
        found = t.client.get("/api/v1/events", labelSelector="testevent-constant=true")["items"]
        assert any(e["metadata"]["namespace"] == namespace for e in found), found
        done = t.client.patch(f"{path}/event-test", {"message": "This is a test event - patched"}, "strategic")
        same("message", done["message"], "This is a test event - patched")
        done["series"] = {"count": 100, "lastObservedTime": "2026-01-02T03:04:05.000006Z"}
        same("series", t.client.replace(f"{path}/event-test", done)["series"]["count"], 100)
        t.client.delete(f"{path}/event-test")
        same("left", [e for e in t.client.get(path)["items"] if name(e) == "event-test"], [])


@conformance("[sig-instrumentation] Events should delete a collection of events")
def core_event_collection(t):
    with t.namespace() as namespace:
        path = f"/api/v1/namespaces/{namespace}/events"
        for number in range(3):
            t.client.create(path, event(namespace, metadata={"name": f"test-event-{number}", "labels": {"testevent-set": "true"}}))
        same("made", len(t.client.get(path, labelSelector="testevent-set=true")["items"]), 3)
        t.client.delete(path, labelSelector="testevent-set=true")
        same("left", t.client.get(path, labelSelector="testevent-set=true")["items"], [])


def new_event(namespace, title, **labels):
    return {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": title, "labels": labels},
            "regarding": {"kind": "Pod", "namespace": namespace, "name": "some"}, "reason": "Testing", "note": "a test", "type": "Normal",
            "action": "Do", "reportingController": "test-controller", "reportingInstance": "test-node",
            "eventTime": "2026-01-02T03:04:05.000006Z"}


@conformance("[sig-instrumentation] Events API should ensure that an event can be fetched, patched, deleted, and listed")
def event_api(t):
    with t.namespace() as namespace:
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        made = t.client.create(path, new_event(namespace, "event-test", constant="yes"))
        same("note", made["note"], "a test")
        listed = t.client.get("/apis/events.k8s.io/v1/events", labelSelector="constant=yes")["items"]
        assert any(e["metadata"]["namespace"] == namespace for e in listed), listed
        core = t.client.get(f"/api/v1/namespaces/{namespace}/events/event-test")
        same("the same in the core group", (core["message"], core["involvedObject"]["name"]), ("a test", "some"))
        selected = t.client.get(path, fieldSelector="reportingController=test-controller")["items"]
        same("by field", [name(e) for e in selected], ["event-test"])
        done = t.client.patch(f"{path}/event-test", {"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000006Z"}})
        same("series", done["series"]["count"], 2)
        done["series"]["count"] = 100
        same("update", t.client.replace(f"{path}/event-test", done)["series"]["count"], 100)
        t.client.delete(f"{path}/event-test")
        same("left", t.client.get(path)["items"], [])


@conformance("[sig-instrumentation] Events API should delete a collection of events")
def event_api_collection(t):
    with t.namespace() as namespace:
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        for number in range(3):
            t.client.create(path, new_event(namespace, f"test-event-{number}", set="true"))
        t.client.delete(path, labelSelector="set=true")
        same("left", t.client.get(path)["items"], [])


def limit_range(title, labels=None):
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": title, "labels": labels or {}},
            "spec": {"limits": [{"type": "Container", "min": {"cpu": "50m", "memory": "100Mi"}, "max": {"cpu": "500m", "memory": "500Mi"},
                                 "default": {"cpu": "100m", "memory": "200Mi"}, "defaultRequest": {"cpu": "60m", "memory": "150Mi"}}]}}


@conformance("[sig-scheduling] LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied.")
def limit_range_defaults(t):
    with t.namespace() as namespace:
        own = f"/api/v1/namespaces/{namespace}"
        eventually("the default account", lambda: t.client.get(f"{own}/serviceaccounts/default"))
        t.client.create(f"{own}/limitranges", limit_range("limit-range"))
        made = t.client.create(f"{own}/pods", pod("no-resources"))
        given = made["spec"]["containers"][0]["resources"]
        same("limits", given["limits"], {"cpu": "100m", "memory": "200Mi"})
        same("requests", given["requests"], {"cpu": "60m", "memory": "150Mi"})
        t.client.refused(403, "POST", f"{own}/pods", pod("too-small", container={"resources": {"requests": {"cpu": "10m", "memory": "100Mi"}}}))
        t.client.refused(403, "POST", f"{own}/pods", pod("too-large", container={"resources": {"limits": {"cpu": "600m", "memory": "400Mi"}}}))
        changed = limit_range("limit-range")
        changed["spec"]["limits"][0]["min"] = {"cpu": "9m", "memory": "10Mi"}
        t.client.replace(f"{own}/limitranges/limit-range", changed)
        t.client.create(f"{own}/pods", pod("small", container={"resources": {"requests": {"cpu": "10m", "memory": "50Mi"}}}))


@conformance("[sig-scheduling] LimitRange should list, patch and delete a LimitRange by collection")
def limit_range_operations(t):
    with t.namespace() as namespace:
        operations(t, f"/api/v1/namespaces/{namespace}/limitranges", limit_range("x"))


@conformance("[sig-scheduling] SchedulerPreemption [Serial] PriorityClass endpoints verify PriorityClass endpoints can be operated with different HTTP methods")
def priority_classes(t):
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    titles = [unique("p"), unique("p")]
    for number, title in enumerate(titles):
        t.client.create(path, {"metadata": {"name": title}, "value": number + 1})
    listed = {name(p): p["value"] for p in t.client.get(path)["items"]}
    same("values", [listed[title] for title in titles], [1, 2])
    # A value never changes.
    t.client.refused(422, "PATCH", f"{path}/{titles[0]}", {"value": 1000}, {"Content-Type": "application/merge-patch+json"})
    made = t.client.get(f"{path}/{titles[0]}")
    t.client.refused(422, "PUT", f"{path}/{titles[0]}", dict(made, value=1000))
    same("description", t.client.replace(f"{path}/{titles[0]}", dict(made, description="changed"))["description"], "changed")
    for title in titles:
        t.client.delete(f"{path}/{title}")


@conformance("[sig-api-machinery] API priority and fairness should support FlowSchema API operations")
def flow_schemas(t):
    operations(t, "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
               {"spec": {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"},
                         "distinguisherMethod": {"type": "ByUser"}}},
               status={"conditions": [{"type": "Dangling", "status": "False", "reason": "E2E", "message": "set by a test"}]})


@conformance("[sig-api-machinery] API priority and fairness should support PriorityLevelConfiguration API operations")
def priority_levels(t):
    operations(t, "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
               {"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}},
               status={"conditions": [{"type": "Test", "status": "False", "reason": "E2E", "message": "set by a test"}]})


@conformance("[sig-architecture] Conformance Tests should have at least two untainted nodes")
def two_nodes(t):
    nodes = [n for n in t.client.get("/api/v1/nodes")["items"] if not n["spec"].get("taints")]
    assert len(nodes) >= 2, [name(n) for n in nodes]
